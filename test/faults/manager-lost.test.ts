import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { processSpec } from '../support/bundle.ts';
import { writeFakeRuntime } from '../support/fake-runtime.ts';
import { markedCgroups, markedProcesses } from '../support/leftovers.ts';
import { ShimBed } from '../support/shim-bed.ts';
import { runcOptions, type ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

/** How long a shim may stay that has no container and that nobody talks to. */
const abandonedMilliseconds = 30_000;

/** A shim whose OCI runtime takes half a second for some of its commands. */
async function slowShim(t: TestContext, ...verbs: string[]): Promise<{ bed: ShimBed; client: ShimClient }> {
  const bed = await ShimBed.open(t);
  const binaryName = writeFakeRuntime(bed.path('slow-runtime'), verbs, 'sleep 0.5');
  const client = await bed.shim('cut-off', ['sh', '-c', 'sleep 1000; exit 1']);
  void client.create({ options: runcOptions({ binaryName }) }).catch(() => undefined);
  if (!verbs.includes('create')) await until('it is created', async () => (await client.state()).pid > 0);
  return { bed, client };
}

test('a shim whose manager died before Create ends by itself', async (t) => {
  const bed = await ShimBed.open(t);
  const client = await bed.shim('never-created', ['true']);
  client.disconnect();
  await until('the shim ends', () => markedProcesses(bed.scratch).length === 0, abandonedMilliseconds);
  assert.ok(!existsSync(bed.place.path(client.bootstrap.address.slice('unix://'.length))), 'its socket is still there');
});

test('Create is finished when the manager dies meanwhile: the next one can start the container', async (t) => {
  const { bed, client } = await slowShim(t, 'create');
  await sleep(200);
  client.disconnect();
  const next = bed.track(await client.connectAgain());
  await until('the container is there', async () => (await next.state()).pid > 0);
  const pid = await next.startTask();
  assert.ok(markedProcesses(bed.scratch).some((one) => one.pid === pid));
  await next.kill(9);
  assert.equal((await next.wait()).exitStatus, 137);
});

test('Start is finished when the manager dies meanwhile', async (t) => {
  const { bed, client } = await slowShim(t, 'start');
  void client.startTask().catch(() => undefined);
  await sleep(200);
  client.disconnect();
  const next = bed.track(await client.connectAgain());
  await bed.sink.next(({ topic }) => topic === '/tasks/start');
  assert.equal((await next.state()).exitStatus, 0);
  await next.kill(9);
  assert.equal((await next.wait()).exitStatus, 137);
});

test('Exec is finished when the manager dies meanwhile, and its end is told', async (t) => {
  const { bed, client } = await slowShim(t, 'exec');
  await client.startTask();
  await client.exec('late', processSpec({ args: ['sh', '-c', 'exit 5'] }));
  void client.startTask('late').catch(() => undefined);
  await sleep(200);
  client.disconnect();
  const next = bed.track(await client.connectAgain());
  assert.equal((await next.wait('late')).exitStatus, 5);
  assert.equal((await next.delete('late')).exitStatus, 5);
});

test('Delete is finished when the manager dies meanwhile', async (t) => {
  const { bed, client } = await slowShim(t, 'delete');
  await client.startTask();
  await client.kill(9);
  await client.wait();
  void client.delete().catch(() => undefined);
  await sleep(200);
  client.disconnect();
  await bed.sink.next(({ topic }) => topic === '/tasks/delete');
  assert.deepEqual(markedCgroups(bed.scratch), []);
});

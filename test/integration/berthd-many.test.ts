import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cri } from '../../src/wire/index.ts';
import { BerthdBed } from '../support/berthd-bed.ts';
import { settled } from '../support/leftovers.ts';
import { until } from '../support/until.ts';

const pods = 50;
const callers = 10;

/** Does the work for each of the items, so many at once, as callers that each do one thing after the other. */
async function byCallers<T>(items: readonly T[], work: (item: T) => Promise<void>): Promise<void> {
  const left = [...items];
  const one = async () => {
    for (let item = left.shift(); item !== undefined; item = left.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: callers }, one));
}

test(`${pods} pods that ${callers} callers start at once all run, and leave nothing when they are removed`, async (t) => {
  const bed = await BerthdBed.open(t, { config: '[shims]\npool_size = 0\n' });
  const before = bed.leftovers();
  const names = Array.from({ length: pods }, (_, n) => `pod${n}`);
  await byCallers(names, async (name) => {
    const pod = await bed.cri.runPod(name, { labels: { name } });
    await bed.cri.runContainer(pod, 'main', ['sh', '-c', `echo ${name}; exec sleep 3600`]);
  });
  const { items } = await bed.cri.runtime('ListPodSandbox', {
    filter: { state: { state: cri.PodSandboxState.SANDBOX_READY } },
  });
  assert.deepEqual(items.map(({ metadata }) => metadata?.name).sort(), names.toSorted());
  const { containers } = await bed.cri.runtime('ListContainers', {
    filter: { state: { state: cri.ContainerState.CONTAINER_RUNNING } },
  });
  assert.equal(containers.length, pods);
  const addresses = await Promise.all(items.map(async ({ id }) => (await bed.cri.pod(id)).network?.ip));
  assert.equal(new Set(addresses).size, pods, 'no address is given twice');
  for (const { id, podSandboxId } of containers) {
    const pod = items.find((item) => item.id === podSandboxId);
    await until('its own output', async () => {
      assert.equal(await bed.cri.output(id), `${pod?.metadata?.name}\n`);
      return true;
    });
  }
  await byCallers(items, ({ id }) => bed.cri.removePod(id));
  const left = await bed.cri.runtime('ListContainers', {});
  assert.deepEqual(left.containers, []);
  const added = () => bed.leftovers().filter((line) => !before.includes(line));
  assert.deepEqual(await settled(added), []);
});

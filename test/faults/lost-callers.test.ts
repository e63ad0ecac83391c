import assert from 'node:assert/strict';
import { existsSync, writeFileSync } from 'node:fs';
import { describe, test } from 'node:test';
import { Code, TtrpcError } from '../../src/ttrpc/index.ts';
import { AttachClient } from '../support/attach-client.ts';
import { processSpec } from '../support/bundle.ts';
import { writeFakeRuntime } from '../support/fake-runtime.ts';
import { isAsleep } from '../support/process-tree.ts';
import { ShimBed } from '../support/shim-bed.ts';
import { runcOptions } from '../support/shim-client.ts';
import { until } from '../support/until.ts';

/** The rejection's status code; fails when there is none. */
async function codeOf(call: Promise<unknown>): Promise<number> {
  try {
    await call;
  } catch (error) {
    if (error instanceof TtrpcError) return error.code;
    throw error;
  }
  throw new assert.AssertionError({ message: 'the call succeeded' });
}

describe('a caller that goes away', () => {
  test('in the middle of Create leaves the container to the next, also across an upgrade', async (t) => {
    const bed = await ShimBed.open(t);
    const script = 'touch "$0.begun"; until [ -e "$0.go" ]; do sleep 0.02; done';
    const runtime = writeFakeRuntime(bed.path('slow'), ['create'], script);
    const client = await bed.shim('one', ['sleep', '1000']);
    const creating = client.create({ options: runcOptions({ binaryName: runtime }) });
    await until('the runtime to be at it', () => existsSync(`${runtime}.begun`));
    const next = bed.track(await client.connectAgain());
    client.disconnect();
    assert.equal(await codeOf(creating), Code.Unavailable);
    const upgrading = next.berth('Upgrade', {});
    writeFileSync(`${runtime}.go`, '');
    await upgrading;
    assert.ok((await next.state()).pid > 0);
    assert.ok((await next.startTask()) > 0);
  });

  test('while the shim sleeps is not counted as attached for ever', async (t) => {
    const bed = await ShimBed.open(t, { env: { BERTH_SLEEP_AFTER_SECONDS: '1' } });
    const { client } = await bed.running('one', ['sleep', '1000']);
    const shim = await client.shimPid();
    const attached = await AttachClient.attach(client, { stdout: true });
    const count = async () => (await client.berth('Info', {})).containers[0]?.attached;
    assert.equal(await count(), 1);
    await until('the shim to sleep', () => isAsleep(shim), 20_000);
    attached.close();
    await until('the shim to wake', () => !isAsleep(shim));
    assert.equal(await count(), 0);
  });
});

describe('waiting for the end of what never starts', () => {
  test('ends when the container is deleted', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '1000']);
    await client.exec('never', processSpec({ args: ['true'] }));
    const waiting = codeOf(client.wait('never'));
    await client.kill(9);
    await client.wait();
    await client.delete();
    assert.equal(await waiting, Code.NotFound);
  });
});

describe('a shim whose events nobody wants', () => {
  test('keeps none, and sleeps', async (t) => {
    const bed = await ShimBed.open(t, { env: { BERTH_SLEEP_AFTER_SECONDS: '1' } });
    const { client } = await bed.running('one', ['sleep', '1000'], { eventsAddress: '' });
    const shim = await client.shimPid();
    assert.equal((await client.berth('Info', {})).pendingEvents, 0);
    await until('the shim to sleep', () => isAsleep(shim), 20_000);
  });
});

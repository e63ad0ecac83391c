import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdirSync, statSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { folderBytes, writeRandomFile } from '../support/bulk-data.ts';
import { processSpec } from '../support/bundle.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { FifoReader, makeFifos } from '../support/fifo.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';
import { until } from '../support/until.ts';
import type { OciRuntime } from '../support/paths.ts';

const megabyte = 1024 * 1024;
/** What a shim keeps for a reader that is not there, before it holds the container back. */
const spoolLimitBytes = 64 * megabyte;

/** Counts and hashes what a FIFO's readers get, one after the other. */
class Collected {
  byteCount = 0;
  readonly #hash = createHash('sha256');
  readonly onData = (bytes: Buffer): void => {
    this.byteCount += bytes.length;
    this.#hash.update(bytes);
  };

  digest(): string {
    return this.#hash.digest('hex');
  }
}

interface Writer {
  bed: ShimBed;
  client: ShimClient;
  /** sha256 of all that it writes to its standard output. */
  digest: string;
  stdout: string;
  /** What the container writes into, and the test reads: /shared in the container. */
  shared: string;
}

/** A container that runs `script`, with `/data`, random bytes, and whose standard output is a FIFO that nobody reads yet. */
async function startWriter(t: TestContext, runtime: OciRuntime, byteCount: number, script: string): Promise<Writer> {
  const bed = await ShimBed.open(t, { runtime });
  const digest = writeRandomFile(bed.path('data'), byteCount);
  const shared = bed.path('shared');
  mkdirSync(shared);
  const mounts = [
    { destination: '/data', type: 'bind', source: bed.path('data'), options: ['bind', 'ro'] },
    { destination: '/shared', type: 'bind', source: shared, options: ['bind', 'rw'] },
  ];
  const client = await bed.shim('writer', ['sh', '-c', script], { mounts });
  const stdout = bed.path('writer.out');
  makeFifos(stdout);
  await bed.create(client, { stdout });
  await client.startTask();
  return { bed, client, digest, stdout, shared };
}

withEachRuntime('the reader of a FIFO', (runtime) => {
  test('never comes: the container writes 50 MB, ends, and is deleted', async (t) => {
    const { client } = await startWriter(t, runtime, 50 * megabyte, 'cat /data; exit 3');
    assert.equal((await client.wait()).exitStatus, 3);
    assert.equal((await client.delete()).exitStatus, 3);
  });

  test('comes late, when the container has long ended: all of 50 MB is there', async (t) => {
    const { client, stdout, digest } = await startWriter(t, runtime, 50 * megabyte, 'cat /data; exit 3');
    assert.equal((await client.wait()).exitStatus, 3);
    const collected = new Collected();
    using reader = new FifoReader(stdout, { onData: collected.onData });
    await until('all has arrived', () => collected.byteCount >= 50 * megabyte);
    await client.delete();
    await reader.ended;
    assert.equal(collected.digest(), digest);
  });

  test('goes away and comes back again and again: 50 MB are complete and in order', async (t) => {
    const pieces = 'for i in $(seq 0 49); do dd if=/data bs=1M count=1 skip=$i 2>/dev/null; sleep 0.01; done; exit 3';
    const { client, stdout, digest } = await startWriter(t, runtime, 50 * megabyte, pieces);
    const collected = new Collected();
    let readers = 0;
    const ended = client.wait();
    const deadline = performance.now() + 60_000;
    while (collected.byteCount < 50 * megabyte && performance.now() < deadline) {
      const reader = new FifoReader(stdout, { onData: collected.onData });
      readers++;
      await sleep(10);
      reader.close();
      await sleep(readers % 3);
    }
    assert.equal((await ended).exitStatus, 3);
    assert.ok(readers > 3, `${readers} readers`);
    assert.equal(collected.byteCount, 50 * megabyte);
    assert.equal(collected.digest(), digest);
  });

  test('never comes, and the container writes on: it is held back when the spool is full, and goes on when one comes', async (t) => {
    const total = 80 * megabyte;
    const script = 'dd if=/data bs=1M 2>/dev/null; touch /shared/written; exit 3';
    const { client, stdout, digest, shared } = await startWriter(t, runtime, total, script);
    await sleep(1500);
    assert.equal((await client.state()).exitStatus, 0);
    assert.throws(() => statSync(`${shared}/written`), 'the container was not held back');
    const kept = folderBytes(client.options.bundle);
    assert.ok(kept <= spoolLimitBytes + megabyte, `${kept} bytes on disk`);
    const collected = new Collected();
    using reader = new FifoReader(stdout, { onData: collected.onData });
    assert.equal((await client.wait()).exitStatus, 3);
    await until('all has arrived', () => collected.byteCount >= total);
    await client.delete();
    await reader.ended;
    assert.equal(collected.digest(), digest);
  });

  test('of an exec goes away: neither the exec nor the container nor its other output waits', async (t) => {
    const { bed, client } = await startWriter(t, runtime, 20 * megabyte, 'sleep 1000');
    const [stdout, stderr] = [bed.path('exec.out'), bed.path('exec.err')];
    makeFifos(stdout, stderr);
    const errors = new FifoReader(stderr);
    const first = new Collected();
    const reader = new FifoReader(stdout, { onData: first.onData });
    const script = 'echo begun; until [ -e /shared/go ]; do sleep 0.02; done; cat /data; echo finished >&2; exit 4';
    await client.exec('gone', processSpec({ args: ['sh', '-c', script] }), { stdout, stderr });
    await client.startTask('gone');
    await until('it has begun', () => first.byteCount > 0);
    reader.close();
    await client.exec('go', processSpec({ args: ['touch', '/shared/go'] }));
    await client.startTask('go');
    assert.equal((await client.wait('gone')).exitStatus, 4);
    assert.equal(errors.text, 'finished\n');
    errors.close();
    const rest = new Collected();
    using second = new FifoReader(stdout, { onData: rest.onData });
    await until('the rest has arrived', () => rest.byteCount >= 20 * megabyte);
    await client.delete('gone');
    await second.ended;
    assert.equal(rest.byteCount, 20 * megabyte);
  });
});

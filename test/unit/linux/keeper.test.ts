import assert from 'node:assert/strict';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  readlinkSync,
  renameSync,
  symlinkSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { join } from 'node:path';
import { after, afterEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { privateMemoryKilobytes, readProcessStatus } from '../../../src/linux/index.ts';
import { native, root, temporaryFolder, until, Watcher } from './addon.ts';

const base = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

interface Report {
  pid: number;
  child?: number;
  wokenBy?: string;
  events?: string;
  wakes?: number;
  kept?: string;
  leftOver?: string[];
  request?: string;
  exits?: Record<string, number>;
}

/** A process that sleeps as the keeper; see sleeper.mjs. */
class Sleeper {
  readonly folder: string;
  readonly pid: number;
  readonly script: string;

  constructor(name: string, childScript: string, env: string[] = []) {
    this.folder = join(base, name);
    mkdirSync(join(this.folder, 'bin'), { recursive: true });
    mkdirSync(join(this.folder, 'lib'));
    const launcher = join(this.folder, 'bin/containerd-shim-berth-v2');
    copyFileSync(join(root, 'dist/bin/containerd-shim-berth-v2'), launcher);
    symlinkSync(join(root, 'dist/lib/node'), join(this.folder, 'lib/node'));
    this.script = join(this.folder, 'lib/shim.mjs');
    copyFileSync(join(import.meta.dirname, 'sleeper.mjs'), this.script);
    const argv = ['sleeper', join(root, 'dist/lib/berth.node'), launcher, this.folder, childScript];
    const log = openSync(join(this.folder, 'log'), 'a');
    this.pid = native.spawn({ file: launcher, argv, env: ['PATH=/bin', ...env], fds: [-1, log, log] });
    native.close(log);
  }

  reports(): Report[] {
    const path = join(this.folder, 'report');
    // What follows the last newline may be a line that is only just begun.
    const lines = existsSync(path) ? readFileSync(path, 'utf8').split('\n').slice(0, -1) : [];
    return lines.map((line) => JSON.parse(line) as Report);
  }

  async asleep(): Promise<void> {
    await until(
      () =>
        readlinkSync(`/proc/${this.pid}/exe`).endsWith('shim-berth-v2') && readProcessStatus(this.pid)?.state === 'S',
    );
  }

  /** The report of the nth wake, once it sleeps again. */
  async woken(count: number): Promise<Report> {
    const report = await until(() => this.reports()[count], 20_000);
    assert.deepEqual(report.leftOver, []);
    assert.deepEqual([report.pid, report.kept, report.wakes], [this.pid, 'kept', count]);
    return report;
  }

  async ask(request: string): Promise<string> {
    const fd = native.connectUnix(join(this.folder, 'socket'));
    native.write(fd, new TextEncoder().encode(request));
    const into = new Uint8Array(64);
    const length = await until(() => {
      const count = native.read(fd, into);
      return count > 0 && count;
    });
    native.close(fd);
    return new TextDecoder().decode(into.subarray(0, length));
  }

  /** What the child has written so far. */
  output(): string {
    const path = join(this.folder, 'out');
    return existsSync(path) ? readFileSync(path, 'utf8') : '';
  }

  log(): string {
    return readFileSync(join(this.folder, 'log'), 'utf8');
  }
}

let sleepers: Sleeper[] = [];

function sleeper(name: string, childScript: string, env: string[] = []): Sleeper {
  const made = new Sleeper(name, childScript, env);
  sleepers.push(made);
  return made;
}

afterEach(async () => {
  for (const shim of sleepers) {
    const child = shim.reports()[0]?.child;
    if (readProcessStatus(shim.pid) !== undefined) native.kill(shim.pid, 9);
    await watcher.exitOf(shim.pid);
    if (child !== undefined && readProcessStatus(child) !== undefined) native.kill(child, 9);
  }
  sleepers = [];
});

test('a request wakes it, is still there to be read, and is answered by the same process', async () => {
  const shim = sleeper('request', 'exec sleep 60');
  await shim.asleep();
  assert.equal(await shim.ask('one'), 'answer to one');
  assert.equal((await shim.woken(1)).wokenBy, 'request');
  await shim.asleep();
  assert.equal(await shim.ask('two'), 'answer to two');
  assert.equal((await shim.woken(2)).request, 'two');
  assert.equal(shim.log(), '');
});

test('the end of a child wakes it, with the exit code still to be had', async () => {
  const shim = sleeper('child', 'trap "exit 42" TERM; echo ready; while sleep 0.01; do :; done');
  await shim.asleep();
  await until(() => shim.output() === 'ready\n');
  const [first] = shim.reports();
  native.kill(first?.child ?? 0, 15);
  const report = await shim.woken(1);
  // A process that ends closes its stdio first, and the pump may see that before there is an exit to be seen.
  assert.ok(report.wokenBy === 'child' || report.wokenBy === 'event', JSON.stringify(report));
  await until(() => shim.reports().some(({ exits }) => exits !== undefined));
  assert.deepEqual(shim.reports().find(({ exits }) => exits !== undefined)?.exits, { [String(first?.child)]: 42 });
});

test('a child that had ended before it fell asleep wakes it at once', async () => {
  const shim = sleeper('early', 'exit 3', ['TEST_CHILD_ENDS=1']);
  const report = await shim.woken(1);
  assert.equal(report.wokenBy, 'child');
  assert.deepEqual(Object.values(report.exits ?? {}), [3]);
});

test('an orphan of a child wakes it too', async () => {
  const shim = sleeper('orphan', '(sleep 0.3; exit 4) & exec sleep 60');
  await shim.asleep();
  await sleep(50);
  assert.equal(shim.reports().length, 1);
  native.kill(shim.reports()[0]?.child ?? 0, 9);
  await shim.woken(1);
  await until(
    () =>
      shim
        .reports()
        .flatMap(({ exits }) => Object.values(exits ?? {}))
        .sort()
        .join() === '137,4',
  );
});

test('it wakes when its time has come', async () => {
  const shim = sleeper('timer', 'exec sleep 60', ['TEST_WAKE_AFTER_MS=150']);
  assert.equal((await shim.woken(1)).wokenBy, 'timer');
  assert.equal((await shim.woken(2)).wokenBy, 'timer');
});

test('SIGUSR2 is an upgrade; SIGHUP, SIGINT and SIGTERM are nothing', async () => {
  const shim = sleeper('signals', 'exec sleep 60');
  await shim.asleep();
  for (const signal of ['SIGHUP', 'SIGINT', 'SIGTERM', 'SIGPIPE']) process.kill(shim.pid, signal);
  await sleep(50);
  assert.equal(shim.reports().length, 1);
  await shim.asleep();
  process.kill(shim.pid, 'SIGUSR2');
  assert.equal((await shim.woken(1)).wokenBy, 'upgrade');
});

test('a child that is stopped and goes on does not wake it', async () => {
  const shim = sleeper('stopped', 'kill -STOP $$; exec sleep 60');
  await shim.asleep();
  const child = shim.reports()[0]?.child ?? 0;
  await until(() => readProcessStatus(child)?.state === 'T');
  native.kill(child, 18);
  await sleep(50);
  assert.equal(shim.reports().length, 1);
});

test('an event of the pump wakes it, and is handed on', async () => {
  const shim = sleeper('event', 'exec 0<&-; echo closed; exec sleep 60');
  await shim.asleep();
  await until(() => shim.output() === 'closed\n');
  const fifo = openSync(join(shim.folder, 'in'), 'w');
  writeSync(fifo, 'nobody reads this\n');
  native.close(fifo);
  const report = await shim.woken(1);
  assert.equal(report.wokenBy, 'event');
  assert.equal(report.events, '4:2:32', 'input 2 ended with EPIPE');
});

test('a child writes on while its shim sleeps, wakes and sleeps: not one byte is lost', async () => {
  const enough = join(base, 'enough');
  const shim = sleeper(
    'stream',
    `i=0; while ((i < 20000)) || [ ! -e ${enough} ]; do echo "line $i"; ((i++ % 1000)) || sleep 0.03; done
    echo "$i lines"; exec sleep 60`,
  );
  await shim.asleep();
  const total = () => /^(\d+) lines\n$/m.exec(shim.output())?.[1];
  for (let wakes = 1; total() === undefined; wakes++) {
    assert.equal(await shim.ask('are you there?'), 'answer to are you there?');
    await shim.asleep();
    if (wakes === 3) writeFileSync(enough, '');
  }
  const expected = Array.from({ length: Number(total()) }, (_, index) => `line ${index}\n`).join('');
  assert.equal(shim.output(), `${expected}${total()} lines\n`);
});

test('without a host it says so, serves the child, and tries again', async () => {
  const shim = sleeper('hostless', 'read line; echo "got $line"; exec sleep 60');
  await shim.asleep();
  renameSync(shim.script, `${shim.script}.away`);
  const answer = shim.ask('patience');
  await until(() => shim.log().includes('cannot become the JavaScript host'));
  const fifo = openSync(join(shim.folder, 'in'), 'w');
  writeSync(fifo, 'bytes\n');
  await until(() => shim.output() === 'got bytes\n');
  native.close(fifo);
  renameSync(`${shim.script}.away`, shim.script);
  assert.equal(await answer, 'answer to patience');
  assert.equal((await shim.woken(1)).wokenBy, 'request');
});

test('asleep it has less than 60 KB of private memory', async (context) => {
  const shim = sleeper('memory', 'exec sleep 60');
  await shim.asleep();
  const { clean, dirty } = privateMemoryKilobytes(shim.pid) ?? { clean: NaN, dirty: NaN };
  context.diagnostic(`private: ${dirty} KB dirty, ${clean} KB clean`);
  assert.ok(dirty < 60, `${dirty} KB`);
});

import assert from 'node:assert/strict';
import { readFileSync, renameSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code, isRpcError } from '../../src/grpc/index.ts';
import { cri } from '../../src/wire/index.ts';
import { containerInfo } from '../support/berthd-inside.ts';
import { type LogLine, readLog } from '../support/cri-caller.ts';
import { OciLayout } from '../support/oci-layout.ts';
import { allProcesses, hasEnded } from '../support/process-tree.ts';
import { makeBusyboxRootfs } from '../support/rootfs.ts';
import { sharedBed } from '../support/shared-bed.ts';
import { until } from '../support/until.ts';

const { CONTAINER_CREATED, CONTAINER_RUNNING, CONTAINER_EXITED } = cri.ContainerState;
const { POD, CONTAINER, TARGET } = cri.NamespaceMode;
const mebibyte = 1024 * 1024;
const execOutputBytes = 64 * 1024;
const pieceBytes = 16 * 1024;
const forever = ['sleep', '3600'];

const fails = (code: Code, message = /./) => {
  return (error: unknown) => isRpcError(error, code) && message.test(error.message);
};

const now = () => BigInt(Date.now()) * 1_000_000n;

/** Whether a process with that word among its arguments runs anywhere on the machine. */
function runs(word: string): boolean {
  const isWanted = (pid: number) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0').includes(word) && !hasEnded(pid);
    } catch {
      return false; // gone meanwhile
    }
  };
  return allProcesses().some(({ pid }) => isWanted(pid));
}

const textOf = (lines: LogLine[]) => lines.map(({ text }) => text).join('');

describe('a container', () => {
  const bed = sharedBed({ config: `[limits]\nexec_sync_output_bytes = ${execOutputBytes}\n` });
  let pod = '';

  before(async () => {
    pod = await bed().cri.runPod('pod');
  });

  test('is created, runs and ends with its exit code, and its status says when and why', async () => {
    const { cri: caller } = bed();
    const began = now();
    const script = 'echo out; echo err >&2; read line < /tmp/fifo; exit 3';
    const command = ['sh', '-c', `mkfifo /tmp/fifo; ${script}`];
    const options = { labels: { app: 'web' }, annotations: { note: 'a note' } };
    const id = await caller.createContainer(pod, 'life', command, options);
    const created = await caller.container(id);
    assert.equal(created.state, CONTAINER_CREATED);
    assert.deepEqual([created.labels, created.annotations], [{ app: 'web' }, { note: 'a note' }]);
    assert.deepEqual([created.startedAt, created.finishedAt], [0n, 0n]);

    await caller.startContainer(id);
    const running = await caller.container(id);
    assert.equal(running.state, CONTAINER_RUNNING);
    assert.ok(running.startedAt >= running.createdAt && running.createdAt >= began);
    await assert.rejects(caller.startContainer(id), fails(Code.FailedPrecondition, /running/));

    await until('its output', async () => (await caller.output(id, 'stderr')) === 'err\n');
    await caller.exec(id, ['sh', '-c', 'echo go > /tmp/fifo']);
    const ended = await caller.exited(id);
    assert.deepEqual([ended.exitCode, ended.reason], [3, 'Error']);
    assert.ok(ended.finishedAt >= running.startedAt && ended.finishedAt <= now());
    assert.equal(await caller.output(id, 'stdout'), 'out\n');
    await assert.rejects(caller.startContainer(id), fails(Code.FailedPrecondition, /exited/));
    await assert.rejects(caller.exec(id, ['true']), fails(Code.FailedPrecondition, /not running/));
    await caller.removeContainer(id);
    await assert.rejects(caller.container(id), fails(Code.NotFound));
  });

  test('that ends well has completed; one that a signal ends has 128 and the signal as its exit code', async () => {
    const { cri: caller } = bed();
    const well = await caller.runContainer(pod, 'well', ['true']);
    const killed = await caller.runContainer(pod, 'killed', ['sh', '-c', 'kill -SEGV $$']);
    const [first, second] = await Promise.all([caller.exited(well), caller.exited(killed)]);
    assert.deepEqual([first.exitCode, first.reason], [0, 'Completed']);
    assert.deepEqual([second.exitCode, second.reason], [139, 'Error']);
    await Promise.all([caller.removeContainer(well), caller.removeContainer(killed)]);
  });

  test('is found by its pod, labels, state and the beginning of its id', async () => {
    const { cri: caller } = bed();
    const other = await caller.runPod('other');
    const running = await caller.runContainer(other, 'running', forever, { labels: { app: 'web' } });
    await caller.createContainer(other, 'created', forever, { labels: { app: 'mail' } });
    const found = async (filter: Parameters<typeof caller.runtime<'ListContainers'>>[1]['filter']) => {
      const { containers } = await caller.runtime('ListContainers', { filter });
      return containers.map(({ metadata }) => metadata?.name).sort();
    };
    assert.deepEqual(await found({ podSandboxId: other }), ['created', 'running']);
    assert.deepEqual(await found({ podSandboxId: pod }), []);
    assert.deepEqual(await found({ labelSelector: { app: 'web' } }), ['running']);
    assert.deepEqual(await found({ podSandboxId: other, state: { state: CONTAINER_CREATED } }), ['created']);
    assert.deepEqual(await found({ id: running.slice(0, 13) }), ['running']);
    assert.deepEqual(await found({ id: running, labelSelector: { app: 'mail' } }), []);
    await caller.removePod(other);
  });

  test('that the kernel kills for its memory is OOMKilled', async () => {
    const { cri: caller } = bed();
    const resources = { memoryLimitInBytes: BigInt(24 * mebibyte) };
    const id = await caller.runContainer(pod, 'oom', ['tail', '/dev/zero'], { linux: { resources } });
    const { exitCode, reason } = await caller.exited(id);
    assert.deepEqual([exitCode, reason], [137, 'OOMKilled']);
    await caller.removeContainer(id);
  });

  test('whose command is not there cannot be started, says why, and can be removed', async () => {
    const { cri: caller } = bed();
    const id = await caller.createContainer(pod, 'absent', ['/bin/absent']);
    await assert.rejects(caller.startContainer(id), /absent/);
    const { state, reason, exitCode, message, finishedAt } = await caller.container(id);
    assert.deepEqual([state, reason, exitCode], [CONTAINER_EXITED, 'StartError', 128]);
    assert.match(message, /absent/);
    assert.ok(finishedAt > 0n);
    await caller.removeContainer(id);
    // Its name is free again, and the pod is as well as before.
    const next = await caller.runContainer(pod, 'absent', ['true']);
    assert.equal((await caller.exited(next)).exitCode, 0);
    await caller.removeContainer(next);
  });

  test('is asked to stop, and is killed when it has not in time', async () => {
    const { cri: caller } = bed();
    const obeying = ['sh', '-c', 'trap "exit 7" TERM; echo up; while :; do sleep 0.05; done'];
    const refusing = ['sh', '-c', 'trap "" TERM; echo up; while :; do sleep 0.05; done'];
    const [good, bad, gone] = await Promise.all([
      caller.runContainer(pod, 'obeys', obeying),
      caller.runContainer(pod, 'refuses', refusing),
      caller.runContainer(pod, 'at-once', obeying),
    ]);
    for (const id of [good, bad, gone]) await until('its trap', async () => (await caller.output(id)) === 'up\n');
    const timed = async (id: string, seconds: number) => {
      const from = performance.now();
      await caller.stopContainer(id, seconds);
      const { state, exitCode } = await caller.container(id);
      assert.equal(state, CONTAINER_EXITED, 'it has ended when StopContainer is answered');
      return { exitCode, ms: performance.now() - from };
    };
    const [obeyed, refused, killed] = await Promise.all([timed(good, 30), timed(bad, 2), timed(gone, 0)]);
    assert.equal(obeyed.exitCode, 7);
    assert.ok(obeyed.ms < 10_000, `a container that ends when it is asked to was waited for ${obeyed.ms} ms`);
    assert.equal(refused.exitCode, 137);
    assert.ok(refused.ms >= 2000 && refused.ms < 15_000, `one that does not was killed after ${refused.ms} ms`);
    assert.equal(killed.exitCode, 137);
    for (const id of [good, bad, gone]) {
      await caller.stopContainer(id, 30);
      await caller.removeContainer(id);
    }
  });

  test('that is being stopped gently is stopped sooner when somebody asks for that', async () => {
    const { cri: caller } = bed();
    const id = await caller.runContainer(pod, 'hurried', [
      'sh',
      '-c',
      'trap "" TERM; echo up; while :; do sleep 0.05; done',
    ]);
    await until('its trap', async () => (await caller.output(id)) === 'up\n');
    const from = performance.now();
    const gentle = caller.stopContainer(id, 50);
    await sleep(200);
    await Promise.all([gentle, caller.stopContainer(id, 1)]);
    const ms = performance.now() - from;
    assert.ok(ms >= 1000 && ms < 15_000, `it took ${ms} ms`);
    await caller.removeContainer(id);
  });

  test("gets its image's stop signal", async () => {
    const { cri: caller } = bed();
    const reference = 'localhost/stops:test';
    makeBusyboxRootfs(bed().path('stops'));
    const layout = new OciLayout(bed().path('stops-image'));
    layout.addImage(reference, [await layout.addLayer(bed().path('stops'))], { StopSignal: 'SIGUSR1', Cmd: ['sh'] });
    await layout.archive(bed().path('stops.tar'));
    await bed().load(bed().path('stops.tar'));
    const command = ['sh', '-c', 'trap "exit 8" USR1; trap "" TERM; echo up; while :; do sleep 0.05; done'];
    const id = await caller.runContainer(pod, 'signal', command, { image: { image: reference } });
    await until('its trap', async () => (await caller.output(id)) === 'up\n');
    assert.equal((await caller.container(id)).stopSignal, cri.Signal.SIGUSR1);
    await caller.stopContainer(id, 30);
    assert.equal((await caller.container(id)).exitCode, 8);
    await caller.removeContainer(id);
  });

  test('runs commands to their ends, each with its output and exit code', async () => {
    const { cri: caller } = bed();
    const envs = [{ key: 'COLOUR', value: Buffer.from('blue') }];
    const id = await caller.runContainer(pod, 'exec', forever, { envs, workingDir: '/tmp' });
    const script = 'echo "$COLOUR $(pwd)"; echo err >&2; exit 5';
    assert.deepEqual(await caller.exec(id, ['sh', '-c', script]), {
      stdout: 'blue /tmp\n',
      stderr: 'err\n',
      exitCode: 5,
    });
    const many = await Promise.all(Array.from({ length: 8 }, (_, n) => caller.exec(id, ['echo', `${n}`])));
    assert.deepEqual(
      many.map(({ stdout }) => stdout),
      Array.from({ length: 8 }, (_, n) => `${n}\n`),
    );
    await assert.rejects(caller.exec(id, []), fails(Code.InvalidArgument, /cmd/));
    await caller.removeContainer(id);
  });

  test('keeps only so much of the output of a command, which runs to its end all the same', async () => {
    const { cri: caller } = bed();
    const id = await caller.runContainer(pod, 'flood', forever);
    const script = 'head -c 3000000 /dev/zero | tr "\\0" x; echo end >&2; exit 4';
    const { stdout, stderr, exitCode } = await caller.exec(id, ['sh', '-c', script]);
    assert.equal(stdout, 'x'.repeat(execOutputBytes));
    assert.deepEqual([stderr, exitCode], ['end\n', 4]);
    await caller.removeContainer(id);
  });

  test('ends a command whose time is up', async () => {
    const { cri: caller } = bed();
    const id = await caller.runContainer(pod, 'late', forever);
    const word = `${3000 + (process.pid % 1000)}.25`;
    const from = performance.now();
    await assert.rejects(caller.exec(id, ['sleep', word], 1), fails(Code.DeadlineExceeded));
    const ms = performance.now() - from;
    assert.ok(ms >= 1000 && ms < 10_000, `it took ${ms} ms`);
    assert.ok(!runs(word), 'the command has ended');
    assert.equal((await caller.exec(id, ['echo', 'well'])).stdout, 'well\n');
    await caller.removeContainer(id);
  });

  test('ends a command whose caller has gone', async () => {
    const { cri: caller } = bed();
    const id = await caller.runContainer(pod, 'left', forever);
    const word = `${3000 + (process.pid % 1000)}.75`;
    const call = caller.runtime('ExecSync', { containerId: id, cmd: ['sleep', word] }, { timeoutMs: 700 });
    await assert.rejects(call, fails(Code.DeadlineExceeded));
    await until('the end of the command', () => !runs(word));
    await caller.removeContainer(id);
  });

  test('has whole lines and pieces of lines in its log, each with its time and stream', async () => {
    const { cri: caller } = bed();
    const long = 2 * pieceBytes + 1000;
    const script = `echo first; head -c ${long} /dev/zero | tr "\\0" x; echo; printf unfinished; echo err >&2`;
    const began = Date.now();
    const id = await caller.runContainer(pod, 'lines', ['sh', '-c', script]);
    await caller.exited(id);
    const lines = await caller.log(id);
    const out = lines.filter(({ stream }) => stream === 'stdout');
    assert.deepEqual([out[0]?.text, out[0]?.isWhole], ['first', true]);
    const ends = out.flatMap(({ isWhole }, index) => (isWhole ? [index] : []));
    const pieces = out.slice(1, (ends[1] ?? 0) + 1);
    assert.equal(textOf(pieces), 'x'.repeat(long));
    assert.ok(pieces.length >= 3, `a line of ${long} bytes is in ${pieces.length} pieces`);
    assert.ok(pieces.every(({ text }) => text.length <= pieceBytes));
    assert.deepEqual([out.at(-1)?.text, out.at(-1)?.isWhole], ['unfinished', false]);
    assert.deepEqual(
      lines.filter(({ stream }) => stream === 'stderr').map(({ text }) => text),
      ['err'],
    );
    for (const { time } of lines) {
      assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}(?:Z|[+-]\d\d:\d\d)$/);
      assert.ok(Date.parse(time) >= began - 1 && Date.parse(time) <= Date.now());
    }
    await caller.removeContainer(id);
  });

  test('goes on in a new log when the old one was renamed, and not a line is lost', async () => {
    const { cri: caller } = bed();
    const script = 'n=0; until [ -e /tmp/enough ]; do n=$((n+1)); echo $n; sleep 0.003; done; echo end';
    const id = await caller.runContainer(pod, 'rotated', ['sh', '-c', script]);
    const { logPath } = await caller.container(id);
    const hasLines = async () => (await caller.log(id)).length > 20;
    for (const round of [1, 2]) {
      await until('lines', hasLines);
      renameSync(logPath, `${logPath}.${round}`);
      await caller.runtime('ReopenContainerLog', { containerId: id });
    }
    await until('lines after the last rotation', hasLines);
    await caller.exec(id, ['touch', '/tmp/enough']);
    await caller.exited(id);
    const lines = [`${logPath}.1`, `${logPath}.2`, logPath].flatMap((path) => readLog(path).map(({ text }) => text));
    assert.deepEqual(lines, [...Array.from({ length: lines.length - 1 }, (_, n) => `${n + 1}`), 'end']);
    await assert.rejects(caller.runtime('ReopenContainerLog', { containerId: id }), fails(Code.FailedPrecondition));
    await caller.removeContainer(id);
  });

  test('gets other resources while it runs, and before it does', async () => {
    const { cri: caller } = bed();
    const limits = { memoryLimitInBytes: BigInt(64 * mebibyte), cpuShares: 512n };
    const id = await caller.createContainer(pod, 'resources', forever, { linux: { resources: limits } });
    const memory = async () => {
      const { cgroups } = await containerInfo(bed(), id);
      const folder = cgroups['memory'] ?? '';
      const names = ['memory.limit_in_bytes', 'memory.max'];
      const found = names.map((name) => readIfThere(join(folder, name))).find((text) => text !== undefined);
      return Number(found) / mebibyte;
    };
    await caller.runtime('UpdateContainerResources', {
      containerId: id,
      linux: { memoryLimitInBytes: BigInt(48 * mebibyte) },
    });
    await caller.startContainer(id);
    assert.equal(await memory(), 48);
    await caller.runtime('UpdateContainerResources', {
      containerId: id,
      linux: { memoryLimitInBytes: BigInt(32 * mebibyte) },
    });
    assert.equal(await memory(), 32);
    const { resources } = await caller.container(id);
    assert.equal(resources?.linux?.memoryLimitInBytes, BigInt(32 * mebibyte));
    assert.equal(resources.linux.cpuShares, 512n, 'what was not named is as before');
    await caller.stopContainer(id);
    const late = caller.runtime('UpdateContainerResources', { containerId: id, linux: { cpuShares: 100n } });
    await assert.rejects(late, fails(Code.FailedPrecondition));
    await caller.removeContainer(id);
  });

  test('has statistics that fit what it does, and so has its pod', async () => {
    const { cri: caller } = bed();
    const script = `head -c ${2 * mebibyte} /dev/zero > /written; x=$(head -c ${4 * mebibyte} /dev/zero | tr "\\0" x); echo ready; while :; do :; done`;
    const other = await caller.runPod('busy');
    const idle = await caller.runContainer(other, 'idle', forever);
    const id = await caller.runContainer(other, 'busy', ['sh', '-c', script], { labels: { app: 'web' } });
    // What a first look finds on the disk serves for ten seconds.
    await until('all to be written', async () => (await caller.output(id)) === 'ready\n');
    await caller.exec(idle, ['ping', '-c', '1', '-W', '1', '10.88.0.1']);
    const statsOf = async (containerId: string) => (await caller.runtime('ContainerStats', { containerId })).stats;
    const first = await statsOf(id);
    await sleep(400);
    const second = await until('a look at its disk', async () => {
      const stats = await statsOf(id);
      return (stats?.writableLayer?.usedBytes?.value ?? 0n) > 0n && stats;
    });
    const cpu = (stats: typeof first) => Number(stats?.cpu?.usageCoreNanoSeconds?.value ?? 0n);
    assert.ok(cpu(second) - cpu(first) > 50e6, `in at least 400 ms it used ${(cpu(second) - cpu(first)) / 1e6} ms`);
    assert.ok((second.cpu?.usageNanoCores?.value ?? 0n) > 100_000_000n);
    const memory = Number(second.memory?.workingSetBytes?.value ?? 0n);
    assert.ok(memory > 3 * mebibyte && memory < 200 * mebibyte, `it uses ${memory} bytes`);
    const disk = Number(second.writableLayer?.usedBytes?.value ?? 0n);
    assert.ok(disk >= 2 * mebibyte && disk < 4 * mebibyte, `it has written ${disk} bytes`);
    assert.equal(second.attributes?.metadata?.name, 'busy');
    assert.ok(cpu(await statsOf(idle)) < cpu(second));

    const listed = async (filter: Parameters<typeof caller.runtime<'ListContainerStats'>>[1]['filter']) => {
      const { stats } = await caller.runtime('ListContainerStats', { filter });
      return stats.map(({ attributes }) => attributes?.metadata?.name).sort();
    };
    assert.deepEqual(await listed({ podSandboxId: other }), ['busy', 'idle']);
    assert.deepEqual(await listed({ labelSelector: { app: 'web' } }), ['busy']);

    const { stats } = await caller.runtime('PodSandboxStats', { podSandboxId: other });
    assert.ok(Number(stats?.linux?.cpu?.usageCoreNanoSeconds?.value ?? 0n) >= cpu(second));
    assert.ok(Number(stats?.linux?.memory?.workingSetBytes?.value ?? 0n) > 3 * mebibyte);
    const { defaultInterface } = stats?.linux?.network ?? {};
    assert.equal(defaultInterface?.name, 'eth0');
    assert.ok((defaultInterface.rxBytes?.value ?? 0n) > 0n && (defaultInterface.txBytes?.value ?? 0n) > 0n);
    assert.ok((stats?.linux?.process?.processCount?.value ?? 0n) >= 2n);
    assert.deepEqual(stats?.linux?.containers.map(({ attributes }) => attributes?.id).sort(), [id, idle].sort());
    await caller.removePod(other);
  });

  test('is told of in order to those who listen, with its pod as it is then', async () => {
    const { cri: caller, client } = bed();
    const leaving = new AbortController();
    const seen: cri.ContainerEventResponse[] = [];
    const { signal } = leaving;
    const listening = (async () => {
      for await (const event of client.stream(cri.RuntimeService, 'GetContainerEvents', {}, { signal }))
        seen.push(event);
    })().catch((error: unknown) => assert.ok(isRpcError(error, Code.Cancelled)));
    await sleep(200); // there is no sign that it listens
    const other = await caller.runPod('told');
    const id = await caller.runContainer(other, 'main', ['sh', '-c', 'exit 6']);
    await caller.exited(id);
    await caller.removeContainer(id);
    await caller.removePod(other);
    const names = () => {
      const name = (type: number) => Object.entries(cri.ContainerEventType).find(([, value]) => value === type)?.[0];
      const what = (event: cri.ContainerEventResponse) =>
        name(event.containerEventType)
          ?.replace(/^CONTAINER_(.*)_EVENT$/, '$1')
          .toLowerCase();
      return seen.map((event) => `${event.containerId === other ? 'pod' : 'container'} ${what(event)}`);
    };
    const expected = [
      ...['pod created', 'pod started', 'container created', 'container started', 'container stopped'],
      ...['container deleted', 'pod stopped', 'pod deleted'],
    ];
    await until('all events', () => names().length >= expected.length);
    assert.deepEqual(names(), expected);
    const stopped = seen[4];
    assert.equal(stopped?.podSandboxStatus?.id, other);
    assert.deepEqual(
      stopped.containersStatuses.map((status) => [status.id, status.exitCode]),
      [[id, 6]],
    );
    assert.ok(seen.every(({ createdAt }, at) => at === 0 || createdAt >= (seen[at - 1]?.createdAt ?? 0n)));
    leaving.abort();
    await listening;
  });

  test('is told about in detail when somebody asks verbosely', async () => {
    const { cri: caller } = bed();
    const id = await caller.runContainer(pod, 'verbose', forever);
    const info = await containerInfo(bed(), id);
    assert.ok(!hasEnded(info.pid));
    assert.deepEqual(info.runtimeSpec?.process.args, forever);
    assert.equal(info.sandboxID, pod);
    assert.equal(info.bundle, join(dirname(bed().socket), 'containers', id));
    await caller.removeContainer(id);
  });

  test('sees the processes of its pod, of one other container, or its own alone', async () => {
    const { cri: caller } = bed();
    const withPid = (pid: cri.NamespaceMode, targetId = '') => ({
      linux: { securityContext: { namespaceOptions: { pid, targetId } } },
    });
    const shared = await caller.runPod('shared', withPid(POD));
    const one = await caller.runContainer(shared, 'one', ['sleep', '3601'], withPid(POD));
    const two = await caller.runContainer(shared, 'two', ['sleep', '3602'], withPid(POD));
    const processes = async (id: string) => (await caller.exec(id, ['ps', '-o', 'pid,args'])).stdout;
    // What has just been started may still be the runtime.
    const sees = (id: string, what: RegExp) =>
      until('its processes', async () => {
        assert.match(await processes(id), what);
        return true;
      });
    await sees(two, /sleep 3601[^]*sleep 3602/);
    assert.doesNotMatch(await processes(two), /^ *1 sleep/m);
    await caller.stopContainer(one);
    assert.equal((await caller.container(two)).state, CONTAINER_RUNNING);

    const alone = await caller.runPod('alone', withPid(CONTAINER));
    const own = await caller.runContainer(alone, 'own', ['sleep', '3603'], withPid(CONTAINER));
    const other = await caller.runContainer(alone, 'other', ['sleep', '3604'], withPid(CONTAINER));
    await sees(own, /^ *1 sleep 3603/m);
    await sees(other, /^ *1 sleep 3604/m);
    assert.doesNotMatch(await processes(own), /3604/);
    const looking = await caller.runContainer(alone, 'looking', ['sleep', '3605'], withPid(TARGET, own));
    await sees(looking, /^ *1 sleep 3603[^]*sleep 3605/m);
    const unknown = caller.createContainer(alone, 'unknown', forever, withPid(TARGET, two));
    await assert.rejects(unknown, fails(Code.FailedPrecondition, new RegExp(two)));
    await caller.stopContainer(other);
    await Promise.all([caller.removePod(shared), caller.removePod(alone)]);
  });
});

function readIfThere(path: string): string | undefined {
  try {
    return readFileSync(path, 'latin1').trim();
  } catch {
    return undefined;
  }
}

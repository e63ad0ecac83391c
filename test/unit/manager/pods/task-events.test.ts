import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import pino from 'pino';
import { EventJournal } from '../../../../src/manager/events/index.ts';
import {
  type ContainerRecord,
  ContainerRecords,
  PodEvents,
  SandboxRecords,
  TaskEvents,
} from '../../../../src/manager/pods/index.ts';
import { Store } from '../../../../src/manager/store/index.ts';
import type { ShimEvent } from '../../../../src/manager/tasks/index.ts';
import { cri, events, packAny, type protobuf, toTimestamp } from '../../../../src/wire/index.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const running: ContainerRecord = {
  id: 'one',
  sandboxId: 'pod',
  config: cri.ContainerConfig.decode(new Uint8Array()),
  imageId: '',
  imageRef: '',
  state: 'running',
  createdAt: 1n,
  startedAt: 2n,
  finishedAt: 0n,
  pid: 7,
  exitCode: 0,
  reason: '',
  message: '',
  oomKilled: false,
  hasTask: true,
  told: { create: true, exit: false, delete: false },
  undoneAt: 0n,
  logPath: '',
  stopSignal: 15,
  stop: null,
  user: { uid: 0, gid: 0, additionalGids: [] },
  resources: undefined,
  cgroups: {},
};

function bed(t: TestContext, outputWritten: () => Promise<void> = () => Promise.resolve()) {
  const folder = temporaryFolder(t);
  const store = new Store(join(folder, 'db'));
  t.after(() => store[Symbol.dispose]());
  const containers = new ContainerRecords(store);
  const journal = new EventJournal(store, 100);
  const taskEvents = new TaskEvents({
    ...{ store, containers, journal, outputWritten, sandboxes: new SandboxRecords(store) },
    ...{ events: new PodEvents(), log: pino({ level: 'silent' }) },
  });
  const record = () => containers.get('one');
  const take = (topic: string, event: protobuf.Any, at = 10n) =>
    taskEvents.take({ namespace: 'k8s.io', topic, at, event, sequence: undefined, senderPid: 1 } satisfies ShimEvent);
  return { folder, containers, taskEvents, record, take };
}

const exit = (exitStatus: number, pid = 7) =>
  packAny(events.TaskExit, { containerId: 'one', id: 'one', pid, exitStatus, exitedAt: toTimestamp(9n) });
const oom = packAny(events.TaskOOM, { containerId: 'one' });

test('what is told late of a start that was undone is not taken for the next one', async (t) => {
  const { containers, record, take } = bed(t);
  containers.put({ ...running, state: 'starting', pid: 0, undoneAt: 20n });
  await take('/tasks/exit', exit(137), 20n);
  assert.equal(record()?.state, 'starting');
  await take('/tasks/exit', exit(3), 21n);
  assert.deepEqual([record()?.state, record()?.exitCode], ['exited', 3]);

  // A clock that is set back hides nothing whose pid is known.
  containers.put({ ...running, undoneAt: 20n });
  await take('/tasks/exit', exit(137, 6), 21n);
  assert.equal(record()?.state, 'running');
  await take('/tasks/exit', exit(4), 19n);
  assert.deepEqual([record()?.state, record()?.exitCode], ['exited', 4]);
});

test('an end is told when the output is written', async (t) => {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const { containers, record, take } = bed(t, () => promise);
  containers.put(running);
  const taken = take('/tasks/exit', exit(0));
  await new Promise((next) => setImmediate(next));
  assert.equal(record()?.state, 'running');
  resolve(undefined);
  await taken;
  assert.equal(record()?.reason, 'Completed');
});

test('a kill for memory that is told after the end, or not at all, is the reason all the same', async (t) => {
  const { folder, containers, taskEvents, record, take } = bed(t);
  containers.put(running);
  await take('/tasks/exit', exit(137));
  assert.equal(record()?.reason, 'Error');
  await take('/tasks/oom', oom);
  assert.deepEqual([record()?.reason, record()?.oomKilled], ['OOMKilled', true]);

  const cgroup = join(folder, 'cgroup');
  mkdirSync(cgroup);
  writeFileSync(join(cgroup, 'memory.events'), 'oom 1\noom_kill 1\n');
  containers.put({ ...running, cgroups: { '': cgroup } });
  await take('/tasks/exit', exit(137));
  assert.equal(record()?.reason, 'OOMKilled');

  containers.put({ ...running, cgroups: { '': cgroup } });
  taskEvents.learned('one', { exitStatus: 137, exitedAt: 9n });
  assert.equal(record()?.reason, 'OOMKilled');
});

import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Code, GrpcClient, GrpcServer } from '../../../../src/grpc/index.ts';
import { EventJournal } from '../../../../src/manager/events/index.ts';
import {
  type ContainerView,
  registerServices,
  type TaskDirectory,
  type TaskView,
} from '../../../../src/manager/services/index.ts';
import { Store } from '../../../../src/manager/store/index.ts';
import {
  berth,
  containerRecords,
  eventService,
  events,
  introspection,
  namespaces,
  ociType,
  packAny,
  packJson,
  processes,
  tasks,
  unpackJson,
  version,
} from '../../../../src/wire/index.ts';
import { until } from '../../../support/until.ts';
import { collect } from '../collect.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const inCri = { metadata: { 'containerd-namespace': 'k8s.io' }, timeoutMs: 5000 };
const elsewhere = { metadata: { 'containerd-namespace': 'default' }, timeoutMs: 5000 };

const one: ContainerView = {
  id: 'one',
  sandboxId: 'pod',
  image: 'docker.io/library/busybox:latest',
  runtime: 'io.containerd.berth.v2',
  labels: { 'io.kubernetes.container.name': 'web' },
  createdAt: 1_700_000_000_000_000_001n,
  updatedAt: 1_700_000_000_000_000_002n,
};
const two: ContainerView = { ...one, id: 'two', labels: {} };

/** Tasks of a container that runs and one that has ended; what is asked of them is written down. */
class Tasks implements TaskDirectory {
  readonly asked: unknown[][] = [];
  readonly #views: TaskView[] = [
    { containerId: 'one', pid: 42, status: 'running', terminal: false, exitStatus: 0, exitedAt: 0n },
    { containerId: 'two', pid: 0, status: 'stopped', terminal: false, exitStatus: 3, exitedAt: 5_000_000_007n },
  ];
  list = () => this.#views;
  find = (id: string) => this.#views.find(({ containerId }) => containerId === id);
  wait = () => Promise.resolve({ exitStatus: 3, exitedAt: 5_000_000_007n });
  pids = () => Promise.resolve([42, 43]);
  metrics = (id: string) => Promise.resolve(id === 'one' ? packAny(events.TaskOOM, { containerId: id }) : undefined);
  start = (...args: unknown[]) => this.#did('start', args, 42);
  kill = (...args: unknown[]) => this.#did('kill', args, undefined);
  pause = (...args: unknown[]) => this.#did('pause', args, undefined);
  resume = (...args: unknown[]) => this.#did('resume', args, undefined);
  update = (...args: unknown[]) => this.#did('update', args, undefined);
  delete = (...args: unknown[]) => this.#did('delete', args, undefined);

  #did<T>(what: string, args: unknown[], result: T): Promise<T> {
    this.asked.push([what, ...args]);
    return Promise.resolve(result);
  }
}

async function serve(test: TestContext) {
  const folder = temporaryFolder(test);
  const store = new Store(join(folder, 'berth.db'));
  const journal = new EventJournal(store, 1000);
  const directory = new Tasks();
  const server = new GrpcServer();
  let level = 'info';
  registerServices(server, {
    facts: { version: '1.2.3', startedAt: 1n, root: '/r', state: '/s', config: 'x = 1', uuid: 'u' },
    daemon: {
      counts: () => ({ sandboxes: 1, containers: 2, images: 3 }),
      defaultRuntime: () => ({ name: 'crun', reason: 'it works' }),
      logLevel: () => level,
      setLogLevel: (next) => {
        level = next;
      },
    },
    containers: {
      list: () => [one, two],
      find: (id) => [one, two].find((container) => container.id === id),
      spec: (id) => Promise.resolve(id === 'one' ? { ociVersion: '1.0.2' } : undefined),
    },
    tasks: directory,
    journal,
  });
  await server.listen(join(folder, 's'));
  const client = new GrpcClient(join(folder, 's'));
  test.after(() => {
    client.close();
    journal.close();
    server.close();
    store[Symbol.dispose]();
  });
  return { client, journal, directory };
}

test('containers are listed as far as the filters let them through, and only in their namespace', async (t) => {
  const { client } = await serve(t);
  const list = async (filters: string[], options: object = inCri) =>
    (await client.call(containerRecords.Containers, 'List', { filters }, options)).containers.map(({ id }) => id);
  assert.deepEqual(await list([]), ['one', 'two']);
  assert.deepEqual(await list(['labels."io.kubernetes.container.name"==web']), ['one']);
  assert.deepEqual(await list(['id==two', 'runtime.name!=io.containerd.berth.v2']), ['two']);
  assert.deepEqual(await list(['image~=busybox,id==one']), ['one']);
  assert.deepEqual(await list([], elsewhere), []);
  await assert.rejects(list(['id=']), { code: Code.InvalidArgument });
  await assert.rejects(list([], {}), { code: Code.InvalidArgument });
  const streamed = await collect(client.stream(containerRecords.Containers, 'ListStream', {}, inCri));
  assert.deepEqual(
    streamed.map(({ container }) => container?.id),
    ['one', 'two'],
  );
});

test('a container has its specification and belongs to CRI', async (t) => {
  const { client } = await serve(t);
  const { container } = await client.call(containerRecords.Containers, 'Get', { id: 'one' }, inCri);
  assert.ok(container?.spec);
  assert.deepEqual(unpackJson(ociType.spec, container.spec), { ociVersion: '1.0.2' });
  assert.deepEqual(container.createdAt, { seconds: 1_700_000_000n, nanos: 1 });
  assert.equal(container.sandbox, 'pod');
  const call = (name: 'Get' | 'Delete', id: string, options = inCri) =>
    client.call(containerRecords.Containers, name, { id }, options);
  await assert.rejects(call('Get', 'none'), { code: Code.NotFound });
  await assert.rejects(call('Get', 'one', elsewhere), { code: Code.NotFound });
  await assert.rejects(call('Delete', 'one'), { code: Code.FailedPrecondition, message: /belongs to pod pod/ });
  await assert.rejects(call('Delete', 'none'), { code: Code.NotFound });
  await assert.rejects(client.call(containerRecords.Containers, 'Update', { container: { id: 'one' } }, inCri), {
    code: Code.FailedPrecondition,
  });
  await assert.rejects(client.call(containerRecords.Containers, 'Create', {}, inCri), { code: Code.Unimplemented });
});

test('tasks are listed, looked at and waited for', async (t) => {
  const { client } = await serve(t);
  const { tasks: listed } = await client.call(tasks.Tasks, 'List', {}, inCri);
  assert.deepEqual(
    listed.map(({ id, pid, status, exitStatus }) => [id, pid, status, exitStatus]),
    [
      ['one', 42, processes.Status.RUNNING, 0],
      ['two', 0, processes.Status.STOPPED, 3],
    ],
  );
  assert.deepEqual((await client.call(tasks.Tasks, 'List', {}, elsewhere)).tasks, []);
  const { process } = await client.call(tasks.Tasks, 'Get', { containerId: 'two' }, inCri);
  assert.deepEqual(process?.exitedAt, { seconds: 5n, nanos: 7 });
  const exit = await client.call(tasks.Tasks, 'Wait', { containerId: 'two' }, inCri);
  assert.deepEqual([exit.exitStatus, exit.exitedAt], [3, { seconds: 5n, nanos: 7 }]);
  const { processes: pids } = await client.call(tasks.Tasks, 'ListPids', { containerId: 'one' }, inCri);
  assert.deepEqual(
    pids.map(({ pid }) => pid),
    [42, 43],
  );
  const { metrics } = await client.call(tasks.Tasks, 'Metrics', { filters: ['namespace==k8s.io'] }, inCri);
  assert.deepEqual(
    metrics.map(({ id }) => id),
    ['one'],
  );
  assert.deepEqual((await client.call(tasks.Tasks, 'Metrics', { filters: ['id==two'] }, inCri)).metrics, []);
  for (const request of [{ containerId: 'none' }, { containerId: 'one', execId: 'x' }]) {
    await assert.rejects(client.call(tasks.Tasks, 'Get', request, inCri), { code: Code.NotFound });
  }
});

test('what is asked of a task reaches it, and what cannot be asked is refused', async (t) => {
  const { client, directory } = await serve(t);
  const containerId = 'one';
  const resources = packJson(ociType.resources, { memory: { limit: 1 } });
  await client.call(tasks.Tasks, 'Kill', { containerId, signal: 15, all: true }, inCri);
  await client.call(tasks.Tasks, 'Pause', { containerId }, inCri);
  await client.call(tasks.Tasks, 'Resume', { containerId }, inCri);
  await client.call(tasks.Tasks, 'Update', { containerId, resources }, inCri);
  assert.equal((await client.call(tasks.Tasks, 'Start', { containerId }, inCri)).pid, 42);
  assert.equal((await client.call(tasks.Tasks, 'Delete', { containerId: 'two' }, inCri)).exitStatus, 3);
  assert.deepEqual(directory.asked, [
    ['kill', 'one', 15, true],
    ['pause', 'one'],
    ['resume', 'one'],
    ['update', 'one', { memory: { limit: 1 } }],
    ['start', 'one'],
    ['delete', 'two'],
  ]);
  const refused = async (
    name: 'Kill' | 'Delete' | 'Update' | 'Exec' | 'Checkpoint' | 'Create',
    request: object,
    code: number,
  ) => await assert.rejects(client.call(tasks.Tasks, name, { containerId, ...request }, inCri), { code }, name);
  await refused('Kill', { signal: 65 }, Code.InvalidArgument);
  await refused('Delete', {}, Code.FailedPrecondition);
  await refused('Update', { resources: packJson('other', {}) }, Code.InvalidArgument);
  await refused('Update', { resources: packJson(ociType.resources, []) }, Code.InvalidArgument);
  await refused('Exec', {}, Code.Unimplemented);
  await refused('Checkpoint', {}, Code.Unimplemented);
  await refused('Create', {}, Code.Unimplemented);
  await assert.rejects(client.call(tasks.Tasks, 'Kill', { containerId, signal: 9 }, elsewhere), {
    code: Code.NotFound,
  });
});

test('events reach those whose filters they pass, from the call on', async (t) => {
  const { client, journal } = await serve(t);
  const exit = (containerId: string) => packAny(events.TaskExit, { containerId, exitStatus: 1 });
  const append = (topic: string, containerId: string, namespace = 'k8s.io') =>
    journal.append({ at: 9n, namespace, topic, event: exit(containerId), containerId, sandboxId: 'pod' });
  append('/tasks/exit', 'before');
  const controller = new AbortController();
  const subscribed = t.mock.method(journal, 'subscribe');
  const subscribe = (...filters: string[]) => {
    const topics: string[] = [];
    const over = (async () => {
      const stream = client.stream(eventService.Events, 'Subscribe', { filters }, { signal: controller.signal });
      await assert.rejects(
        async () => {
          for await (const { topic, namespace } of stream) topics.push(`${namespace}${topic}`);
        },
        { code: Code.Cancelled },
      );
    })();
    return { topics, over };
  };
  const all = subscribe();
  const some = subscribe('topic~=/exit/,event.container_id==a', 'namespace==other');
  await until('both are subscribed', () => subscribed.mock.callCount() === 2);
  append('/tasks/exit', 'a');
  append('/tasks/exit', 'b');
  append('/tasks/start', 'a', 'other');
  await client.call(eventService.Events, 'Publish', { topic: '/mine/too', event: exit('c') }, elsewhere);
  const forwarded = { timestamp: { seconds: 1n }, namespace: 'other', topic: '/x', event: exit('d') };
  await client.call(eventService.Events, 'Forward', { envelope: forwarded }, {});
  await until('the last has come to both', () => [all, some].every(({ topics }) => topics.at(-1) === 'other/x'));
  controller.abort();
  await Promise.all([all.over, some.over]);
  assert.deepEqual(all.topics, [
    'k8s.io/tasks/exit',
    'k8s.io/tasks/exit',
    'other/tasks/start',
    'default/mine/too',
    'other/x',
  ]);
  assert.deepEqual(some.topics, ['k8s.io/tasks/exit', 'other/tasks/start', 'other/x']);
  for (const topic of ['', 'x', '/', '/a//b', '/a b']) {
    const publishing = client.call(eventService.Events, 'Publish', { topic, event: exit('c') }, inCri);
    await assert.rejects(publishing, { code: Code.InvalidArgument }, topic);
  }
});

test('a subscriber of berth.v1 goes on after the number that it saw last', async (t) => {
  const { client, journal } = await serve(t);
  const containers = ['a', 'b', 'c'];
  for (const id of containers) {
    const event = packAny(events.TaskOOM, { containerId: id });
    journal.append({ at: 7n, namespace: 'k8s.io', topic: '/tasks/oom', event, containerId: id, sandboxId: 'pod' });
  }
  const kept = async (afterSequence: bigint) =>
    await collect(client.stream(berth.Events, 'Subscribe', { afterSequence, noFollow: true }, { timeoutMs: 5000 }));
  assert.deepEqual(
    (await kept(1n)).map(({ sequence, containerId }) => [sequence, containerId]),
    [
      [2n, 'b'],
      [3n, 'c'],
    ],
  );
  const [first] = await kept(0n);
  assert.deepEqual(
    [first?.timestamp, first?.topic, first?.sandboxId],
    [{ seconds: 0n, nanos: 7 }, '/tasks/oom', 'pod'],
  );
  assert.deepEqual(await kept(3n), []);
  await assert.rejects(kept(4n), { code: Code.OutOfRange });
});

test('the daemon tells of itself, and its log level can be changed', async (t) => {
  const { client } = await serve(t);
  const info = await client.call(berth.Daemon, 'Info', {}, inCri);
  assert.deepEqual(
    [info.pid, info.containers, info.defaultRuntimeReason, info.config],
    [process.pid, 2, 'it works', 'x = 1'],
  );
  const setLevel = async (level: string) => (await client.call(berth.Daemon, 'SetLogLevel', { level }, inCri)).level;
  assert.deepEqual([await setLevel(''), await setLevel('debug'), await setLevel('')], ['info', 'debug', 'debug']);
  await assert.rejects(setLevel('loud'), { code: Code.InvalidArgument });
});

test('version, namespaces and plugins are what a client of containerd expects', async (t) => {
  const { client } = await serve(t);
  assert.equal((await client.call(version.Version, 'Version', {}, inCri)).version, '1.2.3');
  const { namespaces: listed } = await client.call(namespaces.Namespaces, 'List', {}, inCri);
  assert.deepEqual(
    listed.map(({ name }) => name),
    ['k8s.io'],
  );
  await assert.rejects(client.call(namespaces.Namespaces, 'Get', { name: 'x' }, inCri), { code: Code.NotFound });
  await assert.rejects(client.call(namespaces.Namespaces, 'Create', {}, inCri), { code: Code.Unimplemented });
  const { plugins } = await client.call(introspection.Introspection, 'Plugins', { filters: ['id==cri'] }, inCri);
  assert.deepEqual(
    plugins.map(({ type }) => type),
    ['io.containerd.grpc.v1'],
  );
  const server = await client.call(introspection.Introspection, 'Server', {}, inCri);
  assert.equal(server.pid, BigInt(process.pid));
  await assert.rejects(client.call(introspection.Introspection, 'PluginInfo', { type: 'x', id: 'y' }, inCri), {
    code: Code.NotFound,
  });
});

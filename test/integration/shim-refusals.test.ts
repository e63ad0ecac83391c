import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { Code, codeName, TtrpcError } from '../../src/ttrpc/index.ts';
import { ociType, packAny, packJson, processes, types } from '../../src/wire/index.ts';
import { processSpec } from '../support/bundle.ts';
import { ShimBed } from '../support/shim-bed.ts';
import type { ShimClient } from '../support/shim-client.ts';

const sigterm = 15;
const sigkill = 9;

/** Each call by name, and the status it must be refused with. */
async function refused(code: Code, calls: Record<string, () => Promise<unknown>>): Promise<void> {
  const answers: Record<string, string> = {};
  for (const [name, call] of Object.entries(calls)) {
    answers[name] = await call().then(
      () => 'OK',
      (error: unknown) => (error instanceof TtrpcError ? codeName(error.code) : String(error)),
    );
  }
  const expected = Object.fromEntries(Object.keys(calls).map((name) => [name, codeName(code)]));
  assert.deepEqual(answers, expected);
}

const trueSpec = processSpec({ args: ['true'] });
const trueProcess = packJson(ociType.process, trueSpec);
const noLimits = packJson(ociType.resources, {});

/** Every call about a container. */
const calls = (client: ShimClient, id: string) => ({
  State: () => client.task('State', { id }),
  Start: () => client.task('Start', { id }),
  Delete: () => client.task('Delete', { id }),
  Pids: () => client.task('Pids', { id }),
  Pause: () => client.task('Pause', { id }),
  Resume: () => client.task('Resume', { id }),
  Checkpoint: () => client.task('Checkpoint', { id, path: '/tmp/none' }),
  Kill: () => client.task('Kill', { id, signal: sigterm }),
  Exec: () => client.task('Exec', { id, execId: 'new', spec: trueProcess }),
  ResizePty: () => client.task('ResizePty', { id, width: 80, height: 24 }),
  CloseIO: () => client.task('CloseIO', { id, stdin: true }),
  Update: () => client.task('Update', { id, resources: noLimits }),
  Wait: () => client.task('Wait', { id }),
  Stats: () => client.task('Stats', { id }),
});

/** Every call about an exec. */
const execCalls = (client: ShimClient, execId: string) => ({
  State: () => client.state(execId),
  Start: () => client.startTask(execId),
  Delete: () => client.delete(execId),
  Kill: () => client.kill(sigterm, { execId }),
  ResizePty: () => client.task('ResizePty', { id: client.id, execId, width: 80, height: 24 }),
  CloseIO: () => client.task('CloseIO', { id: client.id, execId, stdin: true }),
  Wait: () => client.wait(execId),
});

function only<T extends object, Name extends keyof T>(all: T, ...names: Name[]): Pick<T, Name> {
  return Object.fromEntries(names.map((name) => [name, all[name]])) as Pick<T, Name>;
}

describe('the shim refuses', () => {
  test('any call about a container or an exec that is not there: NOT_FOUND', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    await refused(Code.NotFound, calls(client, 'two'));
    await refused(Code.NotFound, execCalls(client, 'nothing'));
  });

  test('a second container or exec of the same id: ALREADY_EXISTS', async (t) => {
    const bed = await ShimBed.open(t);
    const { client, pid } = await bed.running('one', ['sleep', '600']);
    await client.exec('e', trueSpec);
    await refused(Code.AlreadyExists, { Create: () => bed.create(client), Exec: () => client.exec('e', trueSpec) });
    assert.equal((await client.state()).pid, pid);
  });

  test('what a created container cannot do yet: FAILED_PRECONDITION', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['sleep', '600']);
    await bed.create(client);
    await refused(Code.FailedPrecondition, only(calls(client, 'one'), 'Pause', 'Resume', 'Checkpoint'));
    assert.equal((await client.state()).status, processes.Status.CREATED);
    await client.startTask();
  });

  test('what a running process cannot do: FAILED_PRECONDITION', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    await client.exec('e', processSpec({ args: ['sleep', '600'] }));
    await client.startTask('e');
    await refused(Code.FailedPrecondition, only(calls(client, 'one'), 'Start', 'Delete', 'Resume'));
    await refused(Code.FailedPrecondition, only(execCalls(client, 'e'), 'Start', 'Delete'));
    assert.equal((await client.state()).status, processes.Status.RUNNING);
    assert.equal((await client.state('e')).status, processes.Status.RUNNING);
  });

  test('what a paused container cannot do: FAILED_PRECONDITION', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    await client.task('Pause', { id: 'one' });
    await refused(Code.FailedPrecondition, only(calls(client, 'one'), 'Pause', 'Start', 'Delete', 'Exec'));
    assert.equal((await client.state()).status, processes.Status.PAUSED);
    await client.task('Resume', { id: 'one' });
    assert.equal((await client.state()).status, processes.Status.RUNNING);
  });

  test('what a process that has ended cannot do: FAILED_PRECONDITION, and signals: NOT_FOUND', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    await client.exec('e', trueSpec);
    await client.startTask('e');
    await client.wait('e');
    await refused(Code.FailedPrecondition, only(execCalls(client, 'e'), 'Start'));
    await refused(Code.NotFound, only(execCalls(client, 'e'), 'Kill'));
    await client.kill(sigkill);
    await client.wait();
    await refused(
      Code.FailedPrecondition,
      only(calls(client, 'one'), 'Start', 'Pause', 'Resume', 'Exec', 'Update', 'Checkpoint'),
    );
    await refused(Code.NotFound, only(calls(client, 'one'), 'Kill'));
    await client.delete();
    await refused(Code.NotFound, calls(client, 'one'));
  });

  test('an exec after its container has ended: FAILED_PRECONDITION', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    await client.exec('late', trueSpec);
    await client.kill(sigkill);
    await client.wait();
    await refused(Code.FailedPrecondition, only(execCalls(client, 'late'), 'Start'));
  });

  test('a request that makes no sense: INVALID_ARGUMENT', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    const create = (request: Parameters<ShimClient['create']>[0]) => () =>
      client.task('Create', { id: 'two', bundle: client.options.bundle, ...request });
    await refused(Code.InvalidArgument, {
      'signal 0': () => client.kill(0),
      'signal 99': () => client.kill(99),
      'an exec without a process': () => client.task('Exec', { id: 'one', execId: 'e' }),
      'an exec without args': () => client.exec('e', { ...trueSpec, args: [] }),
      'a process that is no JSON': () =>
        client.task('Exec', { id: 'one', execId: 'e', spec: { typeUrl: ociType.process, value: Buffer.from('{') } }),
      'an exec id that is a path': () => client.exec('../e', trueSpec),
      'an id that is a path': () => client.task('Create', { id: '../two', bundle: client.options.bundle }),
      'an unknown kind of stdio': create({ stdout: 'http://elsewhere' }),
      'stdio by a relative path': create({ stdout: 'out' }),
      'options of another kind': create({ options: packAny(types.Mount, { type: 'bind' }) }),
      'limits that are no JSON': () =>
        client.task('Update', { id: 'one', resources: { typeUrl: ociType.resources, value: Buffer.from('{') } }),
    });
    assert.equal((await client.state()).status, processes.Status.RUNNING);
  });

  test('a call with a deadline that has passed, and serves the next', async (t) => {
    const bed = await ShimBed.open(t);
    const { client } = await bed.running('one', ['sleep', '600']);
    const late = client.task('Wait', { id: 'one' }, { timeoutMs: 100 });
    await refused(Code.DeadlineExceeded, { Wait: () => late });
    assert.equal((await client.state()).status, processes.Status.RUNNING);
  });
});

describe('a refused Create', () => {
  test('for a FIFO that is not there leaves nothing, and the id is free', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['true']);
    await refused(Code.NotFound, { Create: () => bed.create(client, { stdout: bed.path('none') }) });
    await refused(Code.NotFound, { State: () => client.state() });
    await bed.create(client);
    await client.startTask();
    assert.equal((await client.wait()).exitStatus, 0);
  });

  test('for a program that is not there says so, and leaves nothing', async (t) => {
    const bed = await ShimBed.open(t);
    const client = await bed.shim('one', ['/no/such/program']);
    await assert.rejects(
      async () => {
        await bed.create(client);
        await client.startTask();
      },
      (error: Error) => /no such file|not found/.test(error.message) && error.message.includes('/no/such/program'),
    );
  });
});

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { eventsV1, sandboxV1, shimV1, taskV2, taskV3 } from '../../../src/wire/index.ts';

function withoutComments(version: string): string {
  const path = new URL(`../../../proto/containerd.task.${version}.proto`, import.meta.url);
  const lines = readFileSync(path, 'utf8').split('\n');
  return lines
    .filter((line) => line.trim() && !line.trim().startsWith('//'))
    .join('\n')
    .replaceAll(`containerd.task.${version}`, 'containerd.task');
}

describe('the services', () => {
  it('task v2 and v3 have the same methods and messages, so one implementation serves both', () => {
    assert.equal(withoutComments('v2'), withoutComments('v3'));
    assert.equal(taskV2.methods, taskV3.methods);
  });

  it('have the names that peers call them by', () => {
    assert.deepEqual(
      [taskV2, taskV3, sandboxV1, eventsV1, shimV1].map(({ name }) => name),
      [
        'containerd.task.v2.Task',
        'containerd.task.v3.Task',
        'containerd.runtime.sandbox.v1.Sandbox',
        'containerd.services.events.ttrpc.v1.Events',
        'berth.shim.v1.Shim',
      ],
    );
    assert.equal(taskV3.methods.CloseIO.request.typeName, 'containerd.task.v3.CloseIORequest');
  });
});

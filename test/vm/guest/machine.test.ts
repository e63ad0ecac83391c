import assert from 'node:assert/strict';
import { test } from 'node:test';
import { detectCgroupLayout } from '../../../src/linux/index.ts';
import { readFileSync } from 'node:fs';

test('the machine has cgroup v2 alone, with the controllers that containers need', () => {
  const { mode, hierarchies } = detectCgroupLayout();
  assert.equal(mode, 'v2');
  assert.equal(hierarchies.get('')?.mountPoint, '/sys/fs/cgroup');
  const controllers = readFileSync('/sys/fs/cgroup/cgroup.subtree_control', 'utf8').trim().split(' ');
  for (const controller of ['cpu', 'io', 'memory', 'pids']) assert.ok(controllers.includes(controller), controller);
});

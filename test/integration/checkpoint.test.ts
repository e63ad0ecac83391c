import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { command } from '../support/command.ts';
import { TestBed } from '../support/test-bed.ts';

/** Whether CRIU is here and finds all that it needs in this kernel. */
async function criuWorks(): Promise<boolean> {
  try {
    return (await command('criu', ['check'])).code === 0;
  } catch {
    return false; // not installed
  }
}

test('ctr task checkpoint writes an image where CRIU works, and says what is wrong where it does not', async (t) => {
  const bed = await TestBed.open(t);
  const image = bed.path('checkpoint');
  await bed.runDetached({ id: 'snapped', flags: ['--null-io'], command: ['sleep', '1000'] });
  const result = await bed.ctr(['tasks', 'checkpoint', '--image-path', image, 'snapped']);
  if (await criuWorks()) {
    assert.equal(result.code, 0, result.stderr);
    assert.ok(existsSync(`${image}/inventory.img`));
  } else {
    assert.notEqual(result.code, 0);
    assert.match(result.stderr, /criu|checkpoint/i);
  }
  assert.equal(await bed.taskStatus('snapped'), 'RUNNING');
});

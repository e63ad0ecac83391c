import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { command } from '../support/command.ts';
import { withEachRuntime } from '../support/each-runtime.ts';
import { TestBed } from '../support/test-bed.ts';

/** Whether CRIU is here and finds all that it needs in this kernel. */
async function criuWorks(): Promise<boolean> {
  try {
    return (await command('criu', ['check'])).code === 0;
  } catch {
    return false; // not installed
  }
}

withEachRuntime('ctr task checkpoint', (runtime) => {
  test('writes an image where CRIU works, and says what is wrong where it does not; the container runs on', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const image = bed.path('checkpoint');
    await bed.runDetached({ id: 'snapped', flags: ['--null-io'], command: ['sleep', '1000'] });
    const result = await bed.ctr(['tasks', 'checkpoint', '--image-path', image, 'snapped']);
    // Debian's crun is built without CRIU.
    if (runtime === 'runc' && (await criuWorks())) {
      assert.equal(result.code, 0, result.stderr);
      assert.ok(existsSync(`${image}/inventory.img`));
    } else {
      assert.notEqual(result.code, 0);
      assert.match(result.stderr, /criu|unknown command checkpoint/i);
    }
    assert.equal(await bed.taskStatus('snapped'), 'RUNNING');
  });
});

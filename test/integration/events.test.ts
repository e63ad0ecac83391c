import assert from 'node:assert/strict';
import { test } from 'node:test';
import { withEachRuntime } from '../support/each-runtime.ts';
import type { SeenEvent } from '../support/events.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';

withEachRuntime('ctr events', (runtime) => {
  test('a life in order: create, start, exit, delete', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    const before = Date.now();
    await bed.ctr(bed.run({ id: 'life', flags: ['--rm'], command: ['sh', '-c', 'exit 42'] }));
    await events.until('life', 'delete');
    assert.deepEqual(events.topicsOf('life'), ['create', 'start', 'exit', 'delete']);

    const [created, started, exited, deleted] = events.of('life');
    const pid = created?.fields['pid'];
    assert.ok(typeof pid === 'number' && pid > 1);
    assert.equal(created?.fields['bundle'], `${bed.containerd.bundles}/life`);
    assert.deepEqual(started?.fields, { container_id: 'life', pid });
    assert.equal(exited?.fields['id'], 'life');
    for (const event of [exited, deleted]) {
      assert.equal(event?.fields['exit_status'], 42);
      assert.equal(event.fields['pid'], pid);
      const at = Date.parse(String(event.fields['exited_at']));
      assert.ok(at >= before && at <= Date.now(), `exited_at: ${String(event.fields['exited_at'])}`);
    }
  });

  test("an exec's start comes before its exit, however short it is", async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'host', command: ['sleep', '1000'] });
    const ids = Array.from({ length: 12 }, (_, index) => `short-${index}`);
    for (const id of ids) await bed.ctrPrints('tasks', 'exec', '--exec-id', id, 'host', 'true');
    await bed.ctrPrints('tasks', 'kill', '--signal', 'SIGKILL', 'host');
    const isOwnExit = ({ topic, fields }: SeenEvent) => topic === '/tasks/exit' && fields['id'] === 'host';
    await until("the container's own exit", () => events.of('host').some(isOwnExit));
    for (const id of ids) {
      const own = events.of('host').filter(({ fields }) => fields['exec_id'] === id || fields['id'] === id);
      assert.deepEqual(
        own.map(({ topic }) => topic),
        ['/tasks/exec-added', '/tasks/exec-started', '/tasks/exit'],
      );
    }
  });

  test('pausing and resuming are told', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    await bed.runDetached({ id: 'heart', command: ['sleep', '1000'] });
    await bed.ctrPrints('tasks', 'pause', 'heart');
    await bed.ctrPrints('tasks', 'resume', 'heart');
    await events.until('heart', 'resumed');
    assert.deepEqual(events.topicsOf('heart'), ['create', 'start', 'paused', 'resumed']);
  });

  test('a container that runs out of memory is told apart from one that was killed', async (t) => {
    const bed = await TestBed.open(t, { runtime });
    const events = await bed.events();
    const flags = ['--memory-limit', String(16 * 1024 * 1024)];
    const result = await bed.ctr(bed.run({ id: 'greedy', flags, command: ['sh', '-c', 'exec tail /dev/zero'] }));
    assert.equal(result.code, 137);
    await events.until('greedy', 'oom');
    await events.until('greedy', 'exit');
    const topics = events.topicsOf('greedy');
    assert.ok(topics.indexOf('oom') < topics.indexOf('exit'), topics.join(', '));
  });
});

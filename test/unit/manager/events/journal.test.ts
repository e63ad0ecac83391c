import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { Code } from '../../../../src/grpc/index.ts';
import { containerOf, EventJournal, type JournalEvent, type NewEvent } from '../../../../src/manager/events/index.ts';
import { Store } from '../../../../src/manager/store/index.ts';
import { events, packAny } from '../../../../src/wire/index.ts';
import { collect } from '../collect.ts';
import { temporaryFolder } from '../temporary-folder.ts';

function event(containerId: string): NewEvent {
  const any = packAny(events.TaskExit, { containerId, exitStatus: 7 });
  return {
    at: 1_700_000_000_123_456_789n,
    namespace: 'k8s.io',
    topic: '/tasks/exit',
    event: any,
    containerId,
    sandboxId: 's',
  };
}

/** A journal on a store of its own. */
function open(test: TestContext, kept = 1000) {
  const path = join(temporaryFolder(test), 'berth.db');
  const stores: Store[] = [];
  const again = (more = kept) => {
    stores.pop()?.[Symbol.dispose]();
    const store = new Store(path);
    stores.push(store);
    return { store, journal: new EventJournal(store, more) };
  };
  test.after(() => stores.pop()?.[Symbol.dispose]());
  return { ...again(), again };
}

const never = new AbortController().signal;

const numbers = (events: JournalEvent[]) => events.map(({ sequence }) => Number(sequence));

test('an event is given as it was written down, and numbers go on after a restart', async (t) => {
  const { journal, again } = open(t);
  assert.deepEqual([journal.last, journal.append(event('a')), journal.append(event('b'))], [0n, 1n, 2n]);
  const { journal: next } = again();
  assert.equal(next.append(event('c')), 3n);
  const kept = await collect(next.subscribe({ after: 0n, signal: never, follow: false }));
  assert.deepEqual(kept[0], { ...event('a'), sequence: 1n });
  assert.deepEqual(
    kept.map(({ containerId }) => containerId),
    ['a', 'b', 'c'],
  );
  assert.deepEqual(numbers(await collect(next.subscribe({ after: 2n, signal: never, follow: false }))), [3]);
});

test('a subscriber gets what was there and what comes, each once and in order, while others append', async (t) => {
  const { journal } = open(t, 100_000);
  for (let i = 0; i < 600; i++) journal.append(event(`early-${i}`));
  const controller = new AbortController();
  const seen: number[] = [];
  const reading = (async () => {
    for await (const { sequence } of journal.subscribe({ after: 100n, signal: controller.signal, follow: true })) {
      seen.push(Number(sequence));
      if (seen.length % 97 === 0) await sleep(1);
      if (sequence === 2000n) return;
    }
  })();
  for (let i = 0; i < 1400; i++) {
    journal.append(event(`late-${i}`));
    if (i % 50 === 0) await sleep(1);
  }
  await reading;
  assert.deepEqual(
    seen,
    Array.from({ length: 1900 }, (_, index) => 101 + index),
  );
});

test('who asks for no number gets what happens after the call, even before it is read', async (t) => {
  const { journal } = open(t);
  journal.append(event('before'));
  const events = journal.subscribe({ signal: never, follow: true });
  journal.append(event('after'));
  for await (const { containerId } of events) {
    assert.equal(containerId, 'after');
    break;
  }
});

test('a subscriber sees nothing of a transaction that does not come about', async (t) => {
  const { store, journal } = open(t);
  const controller = new AbortController();
  const reading = collect(journal.subscribe({ after: 0n, signal: controller.signal, follow: true }));
  await sleep(5);
  assert.throws(() =>
    store.transaction(() => {
      journal.append(event('never'), { sandboxId: 's', sequence: 1 });
      throw new Error('no');
    }),
  );
  await sleep(5);
  assert.equal(journal.isKnown({ sandboxId: 's', sequence: 1 }), false);
  store.transaction(() => {
    assert.equal(journal.append(event('one'), { sandboxId: 's', sequence: 1 }), 1n);
    assert.equal(journal.append(event('two'), { sandboxId: 's', sequence: 2 }), 2n);
  });
  await sleep(5);
  controller.abort();
  assert.deepEqual(
    (await reading).map(({ containerId }) => containerId),
    ['one', 'two'],
  );
});

test('what a shim tells twice is taken once, across restarts, until its sandbox is forgotten', (t) => {
  const { journal, again } = open(t);
  assert.equal(journal.append(event('a'), { sandboxId: 'one', sequence: 5 }), 1n);
  assert.equal(journal.append(event('a'), { sandboxId: 'one', sequence: 5 }), undefined);
  assert.equal(journal.append(event('a'), { sandboxId: 'one', sequence: 4 }), undefined);
  assert.equal(journal.append(event('a'), { sandboxId: 'two', sequence: 4 }), 2n);
  const { journal: next } = again();
  assert.equal(next.append(event('a'), { sandboxId: 'one', sequence: 5 }), undefined);
  assert.equal(next.append(event('a'), { sandboxId: 'one', sequence: 6 }), 3n);
  next.forget('one');
  assert.equal(next.append(event('b'), { sandboxId: 'one', sequence: 1 }), 4n);
});

test('a number that was not given yet, or is no longer kept, is out of range; 0 is all there is', async (t) => {
  const { journal } = open(t, 100);
  for (let i = 0; i < 500; i++) journal.append(event('x'));
  const outOfRange = { code: Code.OutOfRange };
  assert.throws(() => journal.subscribe({ after: 501n, signal: never, follow: true }), outOfRange);
  assert.throws(() => journal.subscribe({ after: 3n, signal: never, follow: true }), outOfRange);
  const kept = numbers(await collect(journal.subscribe({ after: 0n, signal: never, follow: false })));
  assert.ok(kept.length >= 100 && kept.length <= 110, `${kept.length} are kept`);
  assert.equal(kept.at(-1), 500);
  const first = BigInt(kept[0] ?? 0);
  assert.equal(
    (await collect(journal.subscribe({ after: first - 1n, signal: never, follow: false }))).length,
    kept.length,
  );
});

test('numbers are not given again when all events were removed', async (t) => {
  const { journal, store, again } = open(t, 10);
  for (let i = 0; i < 25; i++) journal.append(event('x'));
  store.database.exec('DELETE FROM events');
  const { journal: next } = again();
  assert.equal(next.last, 25n);
  assert.deepEqual(await collect(next.subscribe({ after: 25n, signal: never, follow: false })), []);
  assert.equal(next.append(event('x')), 26n);
});

test('a slow subscriber does not lose what is kept for it, and is told when that had to go', async (t) => {
  const { journal } = open(t, 100);
  journal.append(event('x'));
  const slow = journal.subscribe({ after: 0n, signal: never, follow: true })[Symbol.asyncIterator]();
  await slow.next();
  for (let i = 0; i < 350; i++) journal.append(event('x'));
  for (let sequence = 2n; sequence <= 300n; sequence++) {
    const { value } = (await slow.next()) as { value: JournalEvent };
    assert.equal(value.sequence, sequence);
  }
  for (let i = 0; i < 2000; i++) journal.append(event('x'));
  await assert.rejects(
    async () => {
      for (let i = 0; i < 1000; i++) await slow.next();
    },
    { code: Code.OutOfRange },
  );
});

test('subscriptions end when the journal is closed, and with their signal', async (t) => {
  const { journal } = open(t);
  const controller = new AbortController();
  const ended = collect(journal.subscribe({ signal: controller.signal, follow: true }));
  const closed = collect(journal.subscribe({ signal: never, follow: true }));
  await sleep(2);
  controller.abort();
  assert.deepEqual(await ended, []);
  journal.close();
  assert.deepEqual(await closed, []);
});

test('an event tells which container it is about', () => {
  assert.equal(containerOf(packAny(events.TaskOOM, { containerId: 'c' })), 'c');
  assert.equal(containerOf(packAny(events.ContainerDelete, { id: 'c' })), 'c');
  assert.equal(containerOf(packAny(events.SandboxExit, { sandboxId: 'c' })), '');
  assert.equal(containerOf({ typeUrl: 'containerd.events.TaskOOM', value: Buffer.from([255, 255, 255]) }), '');
});

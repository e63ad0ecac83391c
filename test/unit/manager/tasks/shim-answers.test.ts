import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { parseBootstrap } from '../../../../src/manager/tasks/shim-command.ts';
import { parseLogfmt } from '../../../../src/manager/tasks/shim-log.ts';
import { bootstrap } from '../../../../src/wire/index.ts';

const address = 'unix:///run/s/1';
const json = (answer: object) => Buffer.from(JSON.stringify(answer));

describe("the answer of a shim's start", () => {
  test('is read in each of its three forms', () => {
    assert.deepEqual(parseBootstrap(Buffer.from(`${address}\n`)), { address, version: 2 });
    assert.deepEqual(parseBootstrap(json({ version: 3, address, protocol: 'ttrpc' })), { address, version: 3 });
    const answer = bootstrap.BootstrapResult.encode({ version: 3, address, protocol: 'ttrpc' });
    assert.deepEqual(parseBootstrap(Buffer.from(answer)), { address, version: 3 });
  });

  test('is refused when it is something else', () => {
    for (const answer of [
      Buffer.from(''),
      Buffer.from('hello'),
      Buffer.from('unix://relative'),
      Buffer.from('unix:///two\nlines'),
      Buffer.from('{'),
      json({ version: 4, address, protocol: 'ttrpc' }),
      json({ version: 3, address, protocol: 'grpc' }),
      json({ version: 3, address: 7, protocol: 'ttrpc' }),
    ])
      assert.equal(parseBootstrap(answer), undefined, answer.toString());
  });
});

test("a shim's log lines are read field by field", () => {
  const line = 'time="2026-11-21T10:00:00Z" level=warning msg="it said \\"no\\"" id=web empty= n=1';
  assert.deepEqual(parseLogfmt(line), {
    ...{ time: '2026-11-21T10:00:00Z', level: 'warning', msg: 'it said "no"', id: 'web', empty: '', n: '1' },
  });
});

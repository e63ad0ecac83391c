import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { CriLogLines, criTime } from '../../../../src/manager/tasks/cri-log-lines.ts';

const at = 1_795_255_897_000_000_042n;
const time = '2026-11-21T10:11:37.000000042Z';
const limit = 16 * 1024;

/** Entries without their times. */
function entries(...pieces: string[]): string[] {
  const lines = new CriLogLines('stdout');
  const text = [...pieces.map((piece) => lines.add(Buffer.from(piece), at)), lines.end(at)].join('');
  return text
    .split('\n')
    .slice(0, -1)
    .map((line) => line.replace(`${time} stdout `, ''));
}

describe('the CRI log format', () => {
  test('has time, stream, tag and text', () => {
    assert.equal(criTime(at), time);
    assert.equal(new CriLogLines('stderr').add(Buffer.from('a b\n'), at).toString(), `${time} stderr F a b\n`);
  });

  test('has an entry for each line, in whatever pieces it comes', () => {
    assert.deepEqual(entries('one\ntwo\n\nthree\n'), ['F one', 'F two', 'F ', 'F three']);
    assert.deepEqual(entries('o', 'n', 'e\nt', 'wo\n'), ['F one', 'F two']);
    assert.deepEqual(entries('ä'.slice(0, 1), '\n'), ['F ä']);
  });

  test('has tag P for the rest of output without a newline', () => {
    assert.deepEqual(entries('one\nprompt> '), ['F one', 'P prompt> ']);
    assert.deepEqual(entries(''), []);
  });

  test('drops the carriage return of a line end', () => {
    assert.deepEqual(entries('one\r\ntwo\r', '\nth\rree\n'), ['F one', 'F two', 'F th\rree']);
  });

  test('cuts long lines', () => {
    const long = 'x'.repeat(limit);
    assert.deepEqual(entries(`${long}\n`), [`F ${long}`]);
    assert.deepEqual(entries(`${long}\r\n`), [`F ${long}`]);
    assert.deepEqual(entries(`${long}\r`, '\n'), [`F ${long}`]);
    assert.deepEqual(entries(`${long}${long}yz\n`), [`P ${long}`, `P ${long}`, 'F yz']);
    assert.deepEqual(entries(long, long, 'y'), [`P ${long}`, `P ${long}`, 'P y']);
  });
});

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { sha256 } from '../../../src/shim/sha256.ts';

test('our SHA-256 gives what OpenSSL gives, at every length around the block boundaries', () => {
  for (let length = 0; length < 300; length++) {
    const text = 'ä/bc{}'.repeat(60).slice(0, length);
    assert.equal(sha256(text), createHash('sha256').update(text).digest('hex'));
  }
});

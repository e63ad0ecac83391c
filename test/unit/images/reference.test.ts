import assert from 'node:assert/strict';
import test from 'node:test';
import { Code, isRpcError } from '../../../src/grpc/index.ts';
import { parseReference, referenceText } from '../../../src/manager/images/index.ts';

const digest = `sha256:${'ab'.repeat(32)}`;

test('a short name is completed as Docker does', () => {
  const complete = {
    busybox: 'docker.io/library/busybox:latest',
    'busybox:1.36': 'docker.io/library/busybox:1.36',
    'someone/thing': 'docker.io/someone/thing:latest',
    'index.docker.io/busybox': 'docker.io/library/busybox:latest',
    'localhost/x': 'localhost/x:latest',
    'localhost:5000/x:y': 'localhost:5000/x:y',
    'registry.k8s.io/pause:3.9': 'registry.k8s.io/pause:3.9',
    '[::1]:5000/x': '[::1]:5000/x:latest',
    [`busybox@${digest}`]: `docker.io/library/busybox@${digest}`,
    [`busybox:1@${digest}`]: `docker.io/library/busybox@${digest}`,
    'a/b__c/d-e.f_g': 'docker.io/a/b__c/d-e.f_g:latest',
  };
  for (const [given, wanted] of Object.entries(complete))
    assert.equal(referenceText(parseReference(given)), wanted, given);
});

test('what is no reference is refused, whatever it may be for another program', () => {
  const hostile = [
    '',
    ' ',
    '-busybox',
    '--creds=x/y',
    'docker://busybox',
    '../../etc/passwd',
    '/etc/passwd',
    'a/../b',
    'BusyBox',
    'busy box',
    'busybox\n',
    'busybox\0',
    'busybox:',
    'busybox:-x',
    'busybox:a/b:c d',
    'busybox@',
    'busybox@sha256:12',
    `busybox@sha512:${'a'.repeat(128)}`,
    'host:port/x',
    'host:99999999/x',
    'a//b',
    'a/',
    '$(id)',
    'x;y',
    'é',
    'a'.repeat(256),
    'a'.repeat(100_000),
    'ab'.repeat(32),
  ];
  for (const text of hostile) {
    assert.throws(
      () => parseReference(text),
      (error) => isRpcError(error, Code.InvalidArgument),
      JSON.stringify(text.slice(0, 50)),
    );
  }
});

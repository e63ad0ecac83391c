import assert from 'node:assert/strict';
import { test } from 'node:test';
import { checkEnvironment, environment } from '../../../../src/manager/spec/environment.ts';
import { containerConfig, imageConfig, refuses } from './configs.ts';

const usualPath = 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

function variables(envs: Record<string, string>, env: string[] = [], tty = false): string[] {
  const list = Object.entries(envs).map(([key, value]) => ({ key, value: Buffer.from(value) }));
  return environment(containerConfig({ envs: list, tty }), imageConfig({ env }), 'web-0');
}

test('a container has a PATH and its pod’s name without asking', () => {
  assert.deepEqual(variables({}), [usualPath, 'HOSTNAME=web-0']);
});

test('a terminal has a type', () => {
  assert.deepEqual(variables({}, [], true), [usualPath, 'TERM=xterm', 'HOSTNAME=web-0']);
  assert.ok(variables({ TERM: 'screen' }, [], true).includes('TERM=screen'));
});

test('the image overrides the defaults, and the request the image', () => {
  assert.deepEqual(variables({ B: '3', HOSTNAME: 'mine' }, ['PATH=/bin', 'A=1', 'B=2', 'C==']), [
    'PATH=/bin',
    'HOSTNAME=mine',
    'A=1',
    'B=3',
    'C==',
  ]);
});

test('an image’s entry without a value takes a variable away; one without a name, or that ends early, says nothing', () => {
  assert.deepEqual(variables({}, ['PATH', '=x', 'A=\0', 'EMPTY=']), ['HOSTNAME=web-0', 'EMPTY=']);
});

test('names and values that no process can have are refused, by their place', () => {
  const check = (key: string, value: string | Uint8Array) => () =>
    checkEnvironment(
      [
        { key: 'GOOD', value: Buffer.from('ü') },
        { key, value: Buffer.from(value) },
      ],
      'config.envs',
    );
  refuses(check('', 'x'), /config\.envs\[1\]\.key: "" is no name/);
  refuses(check('A=B', 'x'), /config\.envs\[1\]\.key/);
  refuses(check('A\0', 'x'), /config\.envs\[1\]\.key/);
  refuses(check('A', 'x\0y'), /config\.envs\[1\]\.value: .*NUL/);
  refuses(check('A', Uint8Array.of(0xff)), /config\.envs\[1\]\.value: .*not UTF-8/);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { processArgs, workingDirectory } from '../../../../src/manager/spec/command.ts';
import { imageConfig, refuses } from './configs.ts';

test('command stands for the entrypoint, args for the cmd, and a command of one’s own leaves the image’s cmd out', () => {
  const image = imageConfig({ entrypoint: ['/entry', '-e'], cmd: ['cmd'] });
  const cases: [command: string[], args: string[], expected: string[]][] = [
    [[], [], ['/entry', '-e', 'cmd']],
    [[], ['a', 'b'], ['/entry', '-e', 'a', 'b']],
    [['run'], [], ['run']],
    [['run', '-x'], ['a'], ['run', '-x', 'a']],
  ];
  for (const [command, args, expected] of cases) assert.deepEqual(processArgs({ command, args }, image), expected);
});

test('an image with a cmd alone runs it, and an entrypoint of one empty word is none', () => {
  const none = { command: [], args: [] };
  assert.deepEqual(processArgs(none, imageConfig({ cmd: ['sh'] })), ['sh']);
  assert.deepEqual(processArgs(none, imageConfig({ entrypoint: [''], cmd: ['sh'] })), ['sh']);
});

test('nothing to run is refused', () => {
  refuses(() => processArgs({ command: [], args: [] }, imageConfig()), /config\.command: is empty/);
});

test('the working directory is the request’s, else the image’s from its root, else the root', () => {
  assert.equal(workingDirectory({ workingDir: '/a/./b' }, imageConfig({ workingDir: '/image' })), '/a/b');
  assert.equal(workingDirectory({ workingDir: '' }, imageConfig({ workingDir: 'app/../srv' })), '/srv');
  assert.equal(workingDirectory({ workingDir: '' }, imageConfig({ workingDir: '../../..' })), '/');
  assert.equal(workingDirectory({ workingDir: '' }, imageConfig()), '/');
});

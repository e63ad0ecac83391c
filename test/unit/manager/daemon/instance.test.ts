import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { InstanceLock } from '../../../../src/manager/instance.ts';
import { Running } from '../../../support/running.ts';
import { native } from '../../linux/addon.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const source = `
import { InstanceLock } from '${join(import.meta.dirname, '../../../../src/manager/instance.ts')}';
import { native } from '${join(import.meta.dirname, '../../linux/addon.ts')}';
await InstanceLock.take([process.argv[1]], native);
console.log('taken');
setInterval(() => undefined, 1000);
`;

/** Another process that has the folder. */
async function holder(folder: string): Promise<Running> {
  const running = new Running(process.execPath, ['--input-type=module-typescript', '--eval', source, folder]);
  await running.says('taken');
  return running;
}

test('a second daemon on the same folder is refused with the pid of the first, and takes it when that has been killed', async (t) => {
  const folder = temporaryFolder(t);
  const first = await holder(folder);
  const pid = readFileSync(join(folder, 'berthd.pid'), 'utf8').trim();
  await assert.rejects(InstanceLock.take([folder], native), {
    name: 'AlreadyRunningError',
    message: `another berthd (pid ${pid}) uses ${folder}: stop it first, or give this one folders of its own (--root, --state)`,
  });
  await first.kill('SIGKILL');
  assert.ok(existsSync(join(folder, 'berthd.pid')), 'what a killed process leaves is there');
  const lock = await InstanceLock.take([folder], native);
  assert.equal(readFileSync(join(folder, 'berthd.pid'), 'utf8'), `${process.pid}\n`);
  lock[Symbol.dispose]();
});

test('a file with the pid of a living process means nothing without its lock', async (t) => {
  const folder = temporaryFolder(t);
  writeFileSync(join(folder, 'berthd.pid'), `${process.ppid}\n`);
  (await InstanceLock.take([folder], native))[Symbol.dispose]();
});

test('the folders are made for all to pass and none to list, the file for root alone, and it goes with the lock', async (t) => {
  const folder = join(temporaryFolder(t), 'a/b');
  const lock = await InstanceLock.take([folder, folder], native);
  assert.equal(statSync(folder).mode & 0o777, 0o711);
  assert.equal(statSync(join(folder, 'berthd.pid')).mode & 0o777, 0o600);
  lock[Symbol.dispose]();
  assert.ok(!existsSync(join(folder, 'berthd.pid')));
});

test('who gets one of two folders only gives it back', async (t) => {
  const [free, taken] = [temporaryFolder(t), temporaryFolder(t)];
  const other = await InstanceLock.take([taken], native);
  await assert.rejects(InstanceLock.take([free, taken], native), { name: 'AlreadyRunningError' });
  assert.ok(!existsSync(join(free, 'berthd.pid')));
  other[Symbol.dispose]();
});

test('one that ends while another waits for it is no obstacle', async (t) => {
  const folder = temporaryFolder(t);
  const first = await InstanceLock.take([folder], native);
  setTimeout(() => first[Symbol.dispose](), 100);
  (await InstanceLock.take([folder], native))[Symbol.dispose]();
});

import assert from 'node:assert/strict';
import { existsSync, openSync, readFileSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readProcessStatus } from '../../../src/linux/index.ts';
import { native, root, temporaryFolder, until, Watcher } from './addon.ts';

const folder = temporaryFolder();
const watcher = new Watcher();
after(() => watcher.loop.stop());

/** Runs a script with the addon as `native` in a Node of its own. */
function run(lines: string[]): number {
  const script = join(folder, `script-${Math.random()}.cjs`);
  writeFileSync(
    script,
    [`const native = require(${JSON.stringify(join(root, 'dist/lib/berth.node'))});`, ...lines].join('\n'),
  );
  const log = openSync(join(folder, 'log'), 'a');
  const pid = native.spawn({
    file: process.execPath,
    argv: ['node', script],
    env: ['PATH=/bin:/usr/bin'],
    fds: [-1, log, log],
  });
  native.close(log);
  return pid;
}

test('exec in place keeps the pid, the children, the subreaper and the listed descriptors, and nothing else', async () => {
  const out = join(folder, 'out');
  const pid = run([
    'native.setSubreaper();',
    'const kept = native.memfd("kept"), lost = native.memfd("lost"), bare = native.memfd("bare");',
    'native.setCloseOnExec(bare, false);',
    'const child = native.spawn({ file: "/bin/sleep", argv: ["sleep", "60"], env: [], fds: [] });',
    'const loop = native.createLoop(); loop.start(() => {});',
    'setTimeout(() => {',
    '  loop.stop();',
    `  const script = \`ls -l /proc/$$/fd > ${out}.new; echo kept \${kept} child \${child} pid $$ >> ${out}.new; mv ${out}.new ${out}; exec sleep 60\`;`,
    '  native.execve("/bin/bash", ["bash", "-c", script], ["PATH=/bin:/usr/bin"], [kept]);',
    '}, 30);',
  ]);
  await until(() => existsSync(out));
  const text = readFileSync(out, 'utf8');
  const [, kept = '', child = '', own = ''] = /kept ([0-9]+) child ([0-9]+) pid ([0-9]+)/.exec(text) ?? [];
  assert.equal(Number(own), pid);
  const descriptors = [...text.matchAll(/ ([0-9]+) -> (.*)$/gm)].map(
    ([, fd = '', target = '']) => [Number(fd), target] as const,
  );
  const others = descriptors.filter(
    ([fd, target]) => fd > 2 && !target.startsWith('/proc/') && target !== out && target !== `${out}.new`,
  );
  assert.deepEqual(others, [[Number(kept), '/memfd:kept (deleted)']]);
  assert.equal(readProcessStatus(Number(child))?.parentPid, pid);
  await until(() => readlinkSync(`/proc/${pid}/exe`).endsWith('sleep'));
  const status = readFileSync(`/proc/${pid}/status`, 'latin1');
  const [, blocked = ''] = /^SigBlk:\t([0-9a-f]+)$/m.exec(status) ?? [];
  const [, ignored = ''] = /^SigIgn:\t([0-9a-f]+)$/m.exec(status) ?? [];
  const hangUpInterruptTerminateUser2 = 0x4803n;
  assert.equal(BigInt(`0x${blocked}`) & hangUpInterruptTerminateUser2, 0n);
  assert.equal(BigInt(`0x${ignored}`) & hangUpInterruptTerminateUser2, hangUpInterruptTerminateUser2);
  native.kill(Number(child), 9);
  native.kill(pid, 9);
  await watcher.exitOf(pid);
});

test('an exec that fails throws, and all is as before', async () => {
  const pid = run([
    'const { readFileSync } = require("fs");',
    'const flags = (fd) => /^flags:\\t(.*)$/m.exec(readFileSync(`/proc/self/fdinfo/${fd}`, "latin1"))[1];',
    'const status = () => /^SigBlk.*\\nSigIgn.*\\nSigCgt.*$/m.exec(readFileSync("/proc/self/status", "latin1"))[0];',
    'const marked = native.memfd("marked"), bare = native.memfd("bare");',
    'native.setCloseOnExec(bare, false);',
    'const before = [flags(marked), flags(bare), flags(2), status()];',
    'let code = "";',
    'try { native.execve("/nonexistent", ["x"], [], [marked]); } catch (error) { code = `${error.code} ${error.syscall} ${error.path}`; }',
    'try { native.execve("/bin/true", ["x"], [], [987654]); } catch (error) { code += ` ${error.code}`; }',
    'const after = [flags(marked), flags(bare), flags(2), status()];',
    'if (code !== "ENOENT execve /nonexistent EBADF") throw new Error(code);',
    'if (JSON.stringify(before) !== JSON.stringify(after)) throw new Error(JSON.stringify([before, after]));',
    'const loop = native.createLoop(); loop.start(() => {}); loop.stop();',
    'process.exitCode = 9;',
  ]);
  assert.equal((await watcher.exitOf(pid)).exitCode, 9, readFileSync(join(folder, 'log'), 'utf8'));
});

/**
 * What Berth's shim is for, shown on a real containerd: it is killed in the middle of its containers' work, started again,
 * and nothing is lost. Prints each step as it goes; exits with 1 if anything does not hold. Leaves nothing behind.
 */
import { writeFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { command } from '../support/command.ts';
import { FifoReader } from '../support/fifo.ts';
import { markedProcesses } from '../support/leftovers.ts';
import { shimBinary } from '../support/paths.ts';
import { statOf } from '../support/process-tree.ts';
import { TestBed } from '../support/test-bed.ts';
import { until } from '../support/until.ts';
import { Narration } from './narration.ts';

const lineCount = 200_000;
const exitCode = 42;

const narration = new Narration();
const step = (text: string) => narration.step(text);
const show = (text: string) => narration.show(text);
const check = (what: string, holds: boolean) => narration.check(what, holds);

async function versionOf(...[file, ...args]: [string, ...string[]]): Promise<string> {
  return (await command(file, args)).stdout.trim().split('\n').slice(0, 2).join(' ').replaceAll(/\s+/g, ' ');
}

async function main(bed: TestBed): Promise<void> {
  const ctr = async (...args: string[]): Promise<string> => {
    show(`$ ctr ${args.join(' ')}`);
    return await bed.ctrPrints(...args);
  };

  step('A containerd of its own, with root, state and sockets in a temporary folder, and our shim in its PATH');
  show(await versionOf('containerd', '--version'));
  show(await versionOf('runc', '--version'));
  show(`${await versionOf(shimBinary, '-v')}   (${shimBinary})`);
  await bed.importImage();
  show(`containerd is process ${bed.containerd.pid}; an image was made from Debian's busybox`);

  step(`Two containers: one that writes ${lineCount} lines and exits with ${exitCode}, and one that only waits`);
  const writes = `until [ -e /go ]; do sleep 0.02; done; seq 1 ${lineCount / 2}; until [ -e /on ]; do sleep 0.02; done; `;
  const script = `${writes} seq ${lineCount / 2 + 1} ${lineCount}; exit ${exitCode}`;
  await bed.runDetached({ id: 'writer', command: ['sh', '-c', script] });
  await bed.runDetached({ id: 'waiter', fromImage: true, command: ['sleep', '1000'] });
  show(await ctr('tasks', 'list'));
  const [writer, waiter] = [await bed.taskPid('writer'), await bed.taskPid('waiter')];
  const shim = statOf(writer)?.parent ?? 0;
  check(
    `the writer's parent is a shim (process ${shim}), and the shim is no child of containerd`,
    statOf(shim)?.parent !== bed.containerd.pid,
  );

  step('Somebody reads the first half of the output');
  let output = '';
  const onData = (bytes: Buffer) => void (output += bytes.toString('latin1'));
  const first = new FifoReader(bed.fifoOf('writer', 'stdout'), { onData });
  writeFileSync(bed.path('rootfs', 'go'), '');
  await until('the first half', () => output.endsWith(`\n${lineCount / 2}\n`));
  show(`read so far: ${first.bytesRead} bytes, up to line ${lineCount / 2}`);

  step('kill -9: containerd dies, and the reader with it');
  first.close();
  await bed.containerd.kill();
  const before = Date.now();
  check('containerd is gone', bed.containerd.pid === undefined);
  check(
    'the writer, the waiter and their shims run on',
    [writer, waiter, shim].every((pid) => statOf(pid)?.state !== undefined),
  );

  step('Without any daemon the writer writes the second half, for which there is no reader, and exits');
  writeFileSync(bed.path('rootfs', 'on'), '');
  await until('the writer ends', () => !markedProcesses(bed.scratch).some(({ pid }) => pid === writer));
  await sleep(1000);
  show('it has not waited for a reader: what it wrote is with its shim, and so is its exit code');

  step('containerd is started again');
  const after = Date.now();
  await bed.containerd.start();
  show(`containerd is process ${bed.containerd.pid}`);
  const list = await ctr('tasks', 'list');
  show(list);
  check(
    'both tasks are there, the writer STOPPED and the waiter RUNNING',
    /writer .*STOPPED/.test(list) && /waiter .*RUNNING/.test(list),
  );
  check('the waiter is the same process as before', (await bed.taskPid('waiter')) === waiter);

  step('The exit that happened meanwhile is told to containerd, once');
  const told = () =>
    bed.containerd
      .log()
      .split('\n')
      .filter((line) => line.includes(' topic=/tasks/exit '));
  await until('the exit event', () => told().length > 0);
  await sleep(1000);
  show(told().join('\n'));
  check('there is one exit event', told().length === 1);

  step('A new reader comes');
  using second = new FifoReader(bed.fifoOf('writer', 'stdout'), { onData });
  await until('the second half', () => output.endsWith(`\n${lineCount}\n`));
  show(`read after the restart: ${second.bytesRead} bytes`);
  const expected = Array.from({ length: lineCount }, (_, index) => `${index + 1}\n`).join('');
  check(`all ${lineCount} lines are there, in order, each once`, output === expected);

  step('The writer is deleted');
  const events = await bed.events();
  const deletion = await bed.ctr(['tasks', 'delete', 'writer']);
  show('$ ctr tasks delete writer');
  show(deletion.stderr);
  const { fields } = await events.until('writer', 'delete');
  show(`event /tasks/delete ${JSON.stringify(fields)}`);
  check(`its exit code is ${exitCode}`, fields['exit_status'] === exitCode);
  const exitedAt = Date.parse(String(fields['exited_at']));
  check('its time of exit lies within those when containerd was dead', exitedAt >= before && exitedAt <= after);

  step('The waiter does what it is told by the new containerd');
  const answer = await ctr('tasks', 'exec', '--exec-id', 'hello', 'waiter', 'echo', 'still here');
  show(answer);
  check('exec works in it', answer === 'still here\n');
  show(await ctr('tasks', 'delete', '--force', 'waiter'));
}

const bed = await TestBed.open();
try {
  await main(bed);
} catch (error) {
  console.error(error);
  check('nothing unexpected happens', false);
}
try {
  step('All is taken down');
  await bed.close();
  check('nothing is left: no process, mount, cgroup, runtime state, socket or file', true);
} catch (error) {
  check((error as Error).message, false);
}
process.exitCode = narration.end();

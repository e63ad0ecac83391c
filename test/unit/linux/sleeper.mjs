// The shim of keeper.test.ts: holds a socket, a child and its stdio, sleeps, and each time it is woken sees to what there is, writes a
// line to its report, and sleeps again. What it must remember is in the memfd that it hands over.
import { appendFileSync, readFileSync, writeSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const { env, argv } = process;
const [addon, launcher, folder, script] = argv.slice(2);
const native = createRequire(import.meta.url)(addon);

function report(line) {
  appendFileSync(join(folder, 'report'), `${JSON.stringify(line)}\n`);
}

function sleep(state, loop) {
  const record = native.memfd('record');
  writeSync(record, JSON.stringify(state));
  const variables = {
    ...Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('BERTH_'))),
    BERTH_KEEPER: '1',
    BERTH_HANDOVER: String(record),
    BERTH_PUMP: String(loop.save()),
    BERTH_WAKE: `${state.listener}:1`,
    BERTH_KEEP: String(state.kept),
  };
  if (env.TEST_WAKE_AFTER_MS) variables.BERTH_WAKE_AFTER_MS = env.TEST_WAKE_AFTER_MS;
  const keep = [record, Number(variables.BERTH_PUMP), state.listener, state.kept, ...loop.descriptors()];
  const list = Object.entries(variables).map(([name, value]) => `${name}=${value}`);
  native.execve(launcher, ['sleeper', ...argv.slice(2)], list, keep);
}

function begin() {
  native.setSubreaper();
  const loop = native.createLoop();
  const [stdoutRead, stdoutWrite] = native.pipe();
  const [stdinRead, stdinWrite] = native.pipe();
  native.mkfifo(join(folder, 'in'), 0o600);
  const kept = native.memfd('kept');
  writeSync(kept, 'kept');
  const state = { listener: native.listenUnix(join(folder, 'socket'), 5, 0o600), kept, wakes: 0 };
  loop.addOutput({ id: 1, source: stdoutRead, sourceIsPty: false, sink: { kind: 'file', path: join(folder, 'out') } });
  loop.addInput({ id: 2, dest: stdinWrite, destIsPty: false, fifoPath: join(folder, 'in') });
  const fds = [stdinRead, stdoutWrite, 2];
  state.child = native.spawn({ file: '/bin/bash', argv: ['bash', '-c', script], env: ['PATH=/bin:/usr/bin'], fds });
  native.close(stdinRead);
  native.close(stdoutWrite);
  while (env.TEST_CHILD_ENDS && !readFileSync(`/proc/${state.child}/stat`, 'latin1').includes(') Z '));
  report({ pid: process.pid, child: state.child });
  sleep(state, loop);
}

function wakeUp() {
  const state = JSON.parse(readFileSync(`/proc/self/fd/${env.BERTH_HANDOVER}`, 'utf8'));
  native.close(Number(env.BERTH_HANDOVER));
  state.wakes++;
  const loop = native.createLoop(Number(env.BERTH_PUMP));
  const line = { wokenBy: env.BERTH_WOKEN_BY, events: env.BERTH_EVENTS, wakes: state.wakes, pid: process.pid };
  line.kept = readFileSync(`/proc/self/fd/${state.kept}`, 'utf8');
  line.leftOver = Object.keys(env).filter((name) =>
    ['BERTH_KEEPER', 'BERTH_WAKE', 'BERTH_WAKE_AFTER_MS'].includes(name),
  );
  const connection = native.accept(state.listener);
  if (connection >= 0) {
    const into = new Uint8Array(64);
    line.request = Buffer.from(into.subarray(0, native.read(connection, into))).toString();
    native.write(connection, Buffer.from(`answer to ${line.request}`));
    native.close(connection);
  }
  loop.start((events) => {
    for (const event of events) {
      if (event.kind !== 'exit') continue;
      line.exits = { ...line.exits, [event.pid]: event.exitCode };
      loop.collect(event.pid);
    }
  });
  setTimeout(() => {
    loop.stop();
    report(line);
    if (line.request === 'end') process.exit(0);
    sleep(state, loop);
  }, 10);
}

if (env.BERTH_HANDOVER === undefined) begin();
else wakeUp();

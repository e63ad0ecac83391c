import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { pino } from 'pino';
import { Systemd } from '../../../../src/manager/systemd.ts';
import { Running } from '../../../support/running.ts';
import { native } from '../../linux/addon.ts';
import { temporaryFolder } from '../temporary-folder.ts';

const log = pino({ level: 'silent' });

/** What systemd does: it prints the datagrams that come, one a line. Node has no such sockets; Python is there for node-gyp. */
const receiver = `
import socket, sys
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.bind(sys.argv[1].replace('@', '\\0', 1) if sys.argv[1][0] == '@' else sys.argv[1])
print('bound', flush=True)
while True: print(repr(s.recv(4096).decode()), flush=True)
`;

async function receive(address: string): Promise<Running> {
  const running = new Running('python3', ['-c', receiver, address]);
  await running.says('bound');
  return running;
}

function told(socket: string, watchdog?: { microseconds: string; pid?: string }): Systemd {
  return new Systemd({ socket, watchdogMicroseconds: watchdog?.microseconds, watchdogPid: watchdog?.pid, native, log });
}

test('systemd hears that the daemon is ready, how it is and that it stops', async (t) => {
  const address = join(temporaryFolder(t), 'notify');
  const systemd = await receive(address);
  const daemon = told(address);
  daemon.ready('Serving\nit');
  daemon.status('3 pods');
  daemon.extendTimeout(1500);
  daemon.stopping();
  await systemd.says('STOPPING=1');
  assert.deepEqual(systemd.stdout.trim().split('\n').slice(1), [
    `'READY=1\\nSTATUS=Serving it'`,
    `'STATUS=3 pods'`,
    `'EXTEND_TIMEOUT_USEC=1500000'`,
    `'STOPPING=1\\nSTATUS=Finishing calls; containers go on'`,
  ]);
  await systemd.kill();
});

test('an abstract address is understood, and the watchdog is fed twice in its time', async () => {
  const address = `@berth-test-${process.pid}`;
  const systemd = await receive(address);
  using daemon = told(address, { microseconds: '100000', pid: String(process.pid) });
  daemon.ready('x');
  // Its timer alone keeps no process alive; what waits here does.
  await systemd.says(/(WATCHDOG=1[^]*){3}/);
  await systemd.kill();
});

test("another process's watchdog is not fed", () => {
  const sent: string[] = [];
  const sendDatagram = (_: string, text: string) => void sent.push(text);
  using daemon = new Systemd({
    socket: '/x',
    watchdogMicroseconds: '1000',
    watchdogPid: '1',
    native: { sendDatagram },
    log,
  });
  daemon.ready('x');
  assert.deepEqual(sent, ['READY=1\nSTATUS=x']);
});

test('without systemd nothing is sent, and one that has gone harms nobody', (t) => {
  told('').ready('x');
  told(join(temporaryFolder(t), 'gone')).ready('x');
});

test('a message that systemd cannot take now is tried again, before later ones', async () => {
  const sent: string[] = [];
  let full = true;
  const sendDatagram = (_: string, text: string) => {
    if (full) throw Object.assign(new Error('EAGAIN'), { code: 'EAGAIN', errno: 11, syscall: 'sendto' });
    sent.push(text);
  };
  using daemon = new Systemd({
    socket: '/x',
    watchdogMicroseconds: undefined,
    watchdogPid: undefined,
    native: { sendDatagram },
    log,
  });
  daemon.status('one');
  daemon.status('two');
  full = false;
  await new Promise((next) => setTimeout(next, 250));
  assert.deepEqual(sent, ['STATUS=one', 'STATUS=two']);
});

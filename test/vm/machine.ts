import { type ChildProcess, spawn, type StdioOptions } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { onExit } from 'signal-exit';
import { repository } from '../support/paths.ts';
import { until } from '../support/until.ts';
import type { GuestLine, GuestResult } from './guest/reporter.ts';

const bootMilliseconds = 180_000;
const testsMilliseconds = 600_000;
const memory = '1536M';
const consoleTailBytes = 6000;

const fileServer = '/usr/lib/qemu/virtiofsd';
const qemu = '/usr/bin/qemu-system-x86_64';

/**
 * Serves this machine's files, from a mount namespace in which its root file system is read-only: the guest cannot change it.
 * (`sandbox=namespace` would be one of its own making, which is refused in containers.)
 */
const serveFiles = [
  'mount --rbind / /mnt',
  'mount -o remount,bind,ro /mnt',
  'exec "$0" --socket-path="$1" -o source=/mnt -o sandbox=chroot -o cache=always -o log_level=err',
].join('\n');

/**
 * A virtual machine without KVM that has cgroup v2 alone, whatever this machine has. Its root file system is this machine's. It
 * runs the tests in `guest/` and goes off.
 *
 * @example
 * await using machine = await VirtualMachine.boot(kernel);
 * for await (const result of machine.results()) console.log(result);
 */
export class VirtualMachine implements AsyncDisposable {
  readonly #folder: string;
  readonly #forget: () => void;
  readonly #processes: ChildProcess[] = [];

  private constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'berth-vm-'));
    this.#forget = onExit(() => rmSync(this.#folder, { recursive: true, force: true }));
  }

  /** Gives one that has been started, with the tests that `buildGuestTests` has made; whether it comes up is seen by `results`. */
  static async boot(kernel: string): Promise<VirtualMachine> {
    const missing = [fileServer, qemu].filter((path) => !existsSync(path));
    if (missing.length > 0) throw new Error(`no ${missing.join(', ')}: run scripts/setup`);
    const machine = new VirtualMachine();
    try {
      await machine.#serveFiles();
      machine.#startQemu(kernel);
      return machine;
    } catch (error) {
      await machine[Symbol.asyncDispose]();
      throw error;
    }
  }

  /**
   * How the guest's tests end, one after the other.
   * @throws Error with the end of the guest's console when it is not up within 180 s, or its tests have not ended 600 s later
   */
  async *results(): AsyncGenerator<GuestResult, void> {
    const child = this.#processes.at(-1);
    if (!child?.stdout) throw new Error('the machine is off');
    const powerOff = () => child.kill('SIGKILL');
    let deadline = setTimeout(powerOff, bootMilliseconds);
    let last: GuestLine | undefined;
    try {
      for await (const text of createInterface(child.stdout)) {
        last = JSON.parse(text) as GuestLine;
        if (last === 'booted') {
          clearTimeout(deadline);
          deadline = setTimeout(powerOff, testsMilliseconds);
        } else if (last !== 'all told') yield last;
      }
    } finally {
      clearTimeout(deadline);
    }
    if (last === 'all told') return;
    const [what, milliseconds] =
      last === undefined ? ['did not come up', bootMilliseconds] : ['did not end its tests', testsMilliseconds];
    throw new Error(`the virtual machine ${what} within ${milliseconds / 1000} s. ${this.endOfConsole}`);
  }

  /** The last that virtiofsd, and then the guest's kernel, init and tests, have printed; for messages. */
  get endOfConsole(): string {
    const paths = ['files.log', 'console'].map((name) => this.#path(name)).filter((path) => existsSync(path));
    const text = paths.map((path) => readFileSync(path, 'latin1')).join('');
    return `The end of its console:\n${text.slice(-consoleTailBytes)}`;
  }

  /** Takes its power and removes what is left of it. */
  async [Symbol.asyncDispose](): Promise<void> {
    for (const child of this.#processes.reverse()) {
      if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) continue;
      const exited = once(child, 'exit');
      child.kill('SIGKILL');
      await exited;
    }
    rmSync(this.#folder, { recursive: true, force: true });
    this.#forget();
  }

  #path(name: string): string {
    return join(this.#folder, name);
  }

  async #serveFiles(): Promise<void> {
    const socket = this.#path('files.sock');
    const args = ['--mount', '--propagation', 'private', 'sh', '-e', '-c', serveFiles, fileServer, socket];
    const log = openSync(this.#path('files.log'), 'a');
    this.#start(['ignore', log, log], 'unshare', args);
    closeSync(log);
    await until('virtiofsd to listen', () => existsSync(socket));
  }

  #startQemu(kernel: string): void {
    const guestInit = join(repository, 'test/vm/guest/init');
    const kernelArguments = `root=root rootfstype=virtiofs ro console=ttyS0 quiet panic=-1 init=${guestInit}`;
    const args = [
      ['-nodefaults', '-no-user-config', '-no-reboot'],
      ['-display', 'none'],
      ['-machine', 'q35'],
      // With a thread for each processor, one may run what another has just patched in the guest's kernel (an int3 that is gone): it crashed so.
      ['-accel', 'tcg,thread=single'],
      ['-cpu', 'max'],
      ['-smp', '2'],
      ['-m', memory],
      // virtiofsd reads and writes the guest's memory.
      ['-object', `memory-backend-memfd,id=memory,size=${memory},share=on`],
      ['-numa', 'node,memdev=memory'],
      ['-chardev', `socket,id=files,path=${this.#path('files.sock')}`],
      ['-device', 'vhost-user-fs-pci,chardev=files,tag=root'],
      // The guest's /dev/hvc0 is QEMU's standard output.
      ['-chardev', 'stdio,id=report,signal=off'],
      ['-device', 'virtio-serial-pci'],
      ['-device', 'virtconsole,chardev=report'],
      ['-serial', `file:${this.#path('console')}`],
      ['-kernel', kernel],
      ['-append', kernelArguments],
    ];
    this.#start(['ignore', 'pipe', 'inherit'], qemu, args.flat());
  }

  /** It ends when this process does, however that ends. */
  #start(stdio: StdioOptions, file: string, args: string[]): void {
    this.#processes.push(spawn('setpriv', ['--pdeathsig', 'KILL', file, ...args], { stdio }));
  }
}

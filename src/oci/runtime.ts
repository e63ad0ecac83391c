import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { unlinkQuietly } from '../linux/index.ts';
import type { Command, CommandRunner, OutputCapture } from './command.ts';
import { classifyRuntimeMessage, RuntimeError } from './errors.ts';
import { lastLoggedError, oneLine } from './runtime-log.ts';
import type { ProcessSpec, Spec } from './spec.ts';

export interface RuntimeOptions {
  /** Absolute path of the runtime's binary. */
  binary: string;
  /** Its state folder (`--root`), one for each namespace. */
  root: string;
  /** Where it logs (`--log`, JSON lines): a prefix, to which each call adds a number; removed when the call has ended. */
  logPath: string;
  systemdCgroup: boolean;
  /** How long one call may take before the runtime is killed, seconds. */
  timeoutSeconds: number;
}

/** Descriptors for a container's process; -1 is /dev/null. A process with a terminal has a console socket instead. */
export type ProcessStdio = { fds: [stdin: number, stdout: number, stderr: number] } | { consoleSocket: string };

export interface CreateOptions {
  bundle: string;
  pidFile: string;
  stdio: ProcessStdio;
  noPivot: boolean;
  noNewKeyring: boolean;
}

export interface ExecOptions {
  /** Where the process spec is written for the runtime; removed afterwards. */
  specFile: string;
  spec: ProcessSpec;
  pidFile: string;
  stdio: ProcessStdio;
}

export interface CheckpointOptions {
  imagePath: string;
  workPath: string;
  parentPath?: string;
  leaveRunning: boolean;
  openTcp: boolean;
  externalUnixSockets: boolean;
  terminal: boolean;
  fileLocks: boolean;
  emptyNamespaces: string[];
  cgroupsMode: string;
}

export interface RestoreOptions {
  bundle: string;
  pidFile: string;
  imagePath: string;
  workPath: string;
  parentPath?: string;
  stdio: ProcessStdio;
  noPivot: boolean;
}

const killed = 128 + 9;

/**
 * Runs an OCI runtime (runc 1.1 and later, crun 1.8 and later, or whatever takes the same command line) and turns its
 * failures into one sentence. Every method throws RuntimeError, and nothing else, when the runtime fails.
 */
export class OciRuntime {
  readonly #options: RuntimeOptions;
  readonly #runner: CommandRunner;
  readonly #capture: () => OutputCapture;
  #calls = 0;

  constructor(options: RuntimeOptions, runner: CommandRunner, capture: () => OutputCapture) {
    this.#options = options;
    this.#runner = runner;
    this.#capture = capture;
  }

  /** Makes the container; its first process waits for `start`. Returns that process's pid. */
  async create(id: string, options: CreateOptions): Promise<number> {
    try {
      return await this.#create(id, options);
    } catch (error) {
      // crun before 1.10 takes no other version number than 1.0, although the specification has only had additions since.
      const refusesVersion = error instanceof RuntimeError && error.message.includes('unknown version specified');
      if (!refusesVersion || !lowerSpecVersion(options.bundle)) throw error;
      return await this.#create(id, options);
    }
  }

  async #create(id: string, options: CreateOptions): Promise<number> {
    const flags = ['--bundle', options.bundle, '--pid-file', options.pidFile];
    if (options.noPivot) flags.push('--no-pivot');
    if (options.noNewKeyring) flags.push('--no-new-keyring');
    await this.#run('create', [...flags, ...consoleFlags(options.stdio), id], options.stdio);
    return this.#readPid('create', options.pidFile);
  }

  async start(id: string): Promise<void> {
    await this.#run('start', [id], undefined);
  }

  /** Starts one more process in the container, detached. Returns its pid. */
  async exec(id: string, options: ExecOptions): Promise<number> {
    writeFileSync(options.specFile, JSON.stringify(options.spec), { mode: 0o600 });
    try {
      const flags = ['--process', options.specFile, '--detach', '--pid-file', options.pidFile];
      await this.#run('exec', [...flags, ...consoleFlags(options.stdio), id], options.stdio);
      return this.#readPid('exec', options.pidFile);
    } finally {
      unlinkQuietly(options.specFile);
      unlinkQuietly(options.pidFile);
    }
  }

  /** Removes what the runtime keeps of the container. `force` kills its processes first. A container it does not know is no error. */
  async delete(id: string, force: boolean): Promise<void> {
    try {
      await this.#run('delete', force ? ['--force', id] : [id], undefined);
    } catch (error) {
      if (error instanceof RuntimeError && error.reason === 'not-found') return;
      throw error;
    }
  }

  async pause(id: string): Promise<void> {
    await this.#run('pause', [id], undefined);
  }

  async resume(id: string): Promise<void> {
    await this.#run('resume', [id], undefined);
  }

  /** Applies `LinuxResources` (JSON of the runtime specification). `file` is a path to write them to for the runtime. */
  async update(id: string, resources: string, file: string): Promise<void> {
    writeFileSync(file, resources, { mode: 0o600 });
    try {
      await this.#run('update', ['--resources', file, id], undefined);
    } finally {
      unlinkQuietly(file);
    }
  }

  async checkpoint(id: string, options: CheckpointOptions): Promise<void> {
    mkdirSync(options.workPath, { recursive: true, mode: 0o700 });
    const flags = ['--image-path', options.imagePath, '--work-path', options.workPath];
    if (options.parentPath !== undefined) flags.push('--parent-path', options.parentPath);
    if (options.leaveRunning) flags.push('--leave-running');
    if (options.openTcp) flags.push('--tcp-established');
    if (options.externalUnixSockets) flags.push('--ext-unix-sk');
    if (options.terminal) flags.push('--shell-job');
    if (options.fileLocks) flags.push('--file-locks');
    if (options.cgroupsMode !== '') flags.push('--manage-cgroups-mode', options.cgroupsMode);
    for (const namespace of options.emptyNamespaces) flags.push('--empty-ns', namespace);
    await this.#run('checkpoint', [...flags, id], undefined);
  }

  /** Makes a running container from a checkpoint. Returns its first process's pid. */
  async restore(id: string, options: RestoreOptions): Promise<number> {
    mkdirSync(options.workPath, { recursive: true, mode: 0o700 });
    const flags = ['--bundle', options.bundle, '--pid-file', options.pidFile, '--detach'];
    flags.push('--image-path', options.imagePath, '--work-path', options.workPath);
    if (options.parentPath !== undefined) flags.push('--parent-path', options.parentPath);
    if (options.noPivot) flags.push('--no-pivot');
    await this.#run('restore', [...flags, ...consoleFlags(options.stdio), id], options.stdio);
    return this.#readPid('restore', options.pidFile);
  }

  /** What `RUNTIME features` prints (runc 1.1 and later, crun 1.9 and later), or undefined for a runtime without it. */
  async features(): Promise<string | undefined> {
    const output = this.#capture();
    try {
      const command = {
        file: this.#options.binary,
        argv: [this.#options.binary, 'features'],
        fds: [-1, output.fd, -1],
      };
      const { exitCode } = await this.#runner.run(command, this.#deadline());
      return exitCode === 0 ? output.text() : undefined;
    } finally {
      output.close();
    }
  }

  #deadline(): AbortSignal {
    return AbortSignal.timeout(this.#options.timeoutSeconds * 1000);
  }

  async #run(verb: string, args: string[], stdio: ProcessStdio | undefined): Promise<void> {
    const { binary, root, systemdCgroup } = this.#options;
    const logPath = `${this.#options.logPath}.${++this.#calls}`;
    const globals = ['--root', root, '--log', logPath, '--log-format', 'json'];
    if (systemdCgroup) globals.push('--systemd-cgroup');
    // What the runtime itself prints is wanted only when it is not the container's own stdio that it would print to.
    const output = stdio !== undefined && 'fds' in stdio ? undefined : this.#capture();
    const fds = output === undefined ? (stdio as { fds: number[] }).fds : [-1, output.fd, output.fd];
    const deadline = this.#deadline();
    try {
      const { exitCode } = await this.#call(
        verb,
        { file: binary, argv: [binary, ...globals, verb, ...args], fds },
        deadline,
      );
      if (exitCode !== 0)
        throw this.#failure(verb, exitCode, lastLoggedError(logPath) || oneLine(output?.text() ?? ''));
    } finally {
      output?.close();
      unlinkQuietly(logPath);
    }
  }

  async #call(verb: string, command: Command, deadline: AbortSignal): Promise<{ exitCode: number }> {
    try {
      return await this.#runner.run(command, deadline);
    } catch (error) {
      if (deadline.aborted) {
        const seconds = this.#options.timeoutSeconds;
        throw new RuntimeError(
          `OCI runtime ${verb} failed: ${this.#options.binary} gave no result within ${seconds} s and was killed`,
          'timeout',
          {
            cause: error,
          },
        );
      }
      const { code, message } = error as { code?: string; message: string };
      const text = `OCI runtime ${verb} failed: cannot run ${this.#options.binary}: ${message}`;
      throw new RuntimeError(text, code === 'ENOENT' || code === 'EACCES' ? 'missing' : 'failed', { cause: error });
    }
  }

  #failure(verb: string, exitCode: number, said: string): RuntimeError {
    const ended = exitCode > 128 ? `was ended by signal ${exitCode - 128}` : `exited with status ${exitCode}`;
    const what = said === '' ? `${this.#options.binary} ${ended} and logged no reason` : said;
    return new RuntimeError(
      `OCI runtime ${verb} failed: ${what}`,
      exitCode === killed ? 'failed' : classifyRuntimeMessage(said),
    );
  }

  #readPid(verb: string, pidFile: string): number {
    let text: string;
    try {
      text = readFileSync(pidFile, 'utf8').trim();
    } catch (cause) {
      throw new RuntimeError(
        `OCI runtime ${verb} failed: ${this.#options.binary} reported success but wrote no ${pidFile}`,
        'failed',
        { cause },
      );
    }
    const pid = /^[0-9]{1,10}$/.test(text) ? Number(text) : 0;
    if (pid > 0) return pid;
    throw new RuntimeError(
      `OCI runtime ${verb} failed: ${pidFile} holds no process id but "${oneLine(text, 40)}"`,
      'failed',
    );
  }
}

/** The bundle-relative name of the pid file of a container's first process: the same that other shims use. */
const initPidFile = 'init.pid';

export function initPidPath(bundle: string): string {
  return join(bundle, initPidFile);
}

/** The version that every runtime knows. */
const oldestSpecVersion = '1.0.2';

/** Lowers the version in a bundle's config.json; false when it is as low as it gets. */
function lowerSpecVersion(bundle: string): boolean {
  const path = join(bundle, 'config.json');
  const spec = JSON.parse(readFileSync(path, 'utf8')) as Spec;
  if (spec.ociVersion === oldestSpecVersion) return false;
  writeFileSync(path, JSON.stringify({ ...spec, ociVersion: oldestSpecVersion }));
  return true;
}

function consoleFlags(stdio: ProcessStdio): string[] {
  return 'consoleSocket' in stdio ? ['--console-socket', stdio.consoleSocket] : [];
}

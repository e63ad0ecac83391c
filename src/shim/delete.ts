import { existsSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import {
  containerCgroups,
  removeCgroups,
  unlinkQuietly,
  unmountAllUnder,
  type CgroupDirectories,
  type NativeAddon,
} from '../linux/index.ts';
import { initPidPath, OciRuntime, type Spec } from '../oci/index.ts';
import { runc, task, toTimestamp, type Init } from '../wire/index.ts';
import type { ShimArguments } from './args.ts';
import type { ShimCommands } from './commands.ts';
import type { ShimConfig } from './config.ts';
import { askShimToLetGo } from './farewell.ts';
import { checkName } from './ids.ts';
import { killAll } from './kill-all.ts';
import { consoleSocketPrefix } from './process-start.ts';
import { withLoop } from './one-shot.ts';
import type { Reactor } from './reactor.ts';
import {
  answerFile,
  containerRecordFile,
  readContainerRecord,
  readShimRecord,
  shimRecordFile,
  type ContainerRecord,
  type RuntimeRecord,
  type ShimRecord,
} from './record.ts';
import { unmountRootfs } from './rootfs.ts';
import { answers } from './shim-socket.ts';
import { specCgroups } from './spec-cgroups.ts';
import { resolveRuntime } from './runtime-options.ts';

const sigkill = 9;
const killedStatus = 128 + sigkill;
const cgroupTimeoutMs = 5000;
const killTimeoutMs = 1000;

/**
 * `delete`: undoes all that a container's shim has done, from what it left in the bundle, because its manager has lost the shim.
 * Should the shim live all the same, it is told to let go first. Prints a DeleteResponse: the exit that the shim still saw, else
 * "killed". A second call tells the same. What cannot be undone is told on stderr, and the rest is done.
 */
export async function deleteContainer(args: ShimArguments, native: NativeAddon, config: ShimConfig): Promise<void> {
  checkName(args.id, 'id');
  checkName(args.namespace, 'namespace');
  const bundle = bundleOf(args);
  native.setSubreaper();
  const response = await withLoop(native, config, (reactor, commands) =>
    undo(args, bundle, { native, config, reactor, commands }),
  );
  process.stdout.write(task.DeleteResponse.encode(response));
}

interface Tools {
  native: NativeAddon;
  config: ShimConfig;
  reactor: Reactor;
  commands: ShimCommands;
}

async function undo(
  args: ShimArguments,
  bundle: string,
  { native, config, reactor, commands }: Tools,
): Promise<Init<task.DeleteResponse>> {
  const farewell = await askShimToLetGo(args.id, args.namespace, bundle, native, reactor);
  const told = farewell?.response;
  // The shim has forgotten it now, and what follows may take longer than our caller waits.
  if (told !== undefined) await attempt('note its exit', () => noteAnswer(bundle, told));
  const record = readContainerRecord(bundle);
  const shim = readShimRecord(bundle);
  const noted = farewell?.response?.pid ?? record?.init.pid ?? 0;
  const pid = noted === 0 ? readInitPid(bundle) : noted;
  if (farewell !== undefined && farewell.hungPid > 0 && shim?.id === args.id) {
    await attempt('end its shim, which does not answer', async () => {
      native.kill(farewell.hungPid, sigkill);
      const deadline = Date.now() + killTimeoutMs;
      while (answers(shim.socketPath, native) && Date.now() < deadline)
        await new Promise((resolve) => setTimeout(resolve, 10));
    });
  }
  const cgroups = cgroupsOf(record, pid, bundle, args.id);
  await attempt('remove it from the OCI runtime', async () => {
    const runtime = runtimeOf(record, args, bundle, config);
    const options = { ...runtime, logPath: join(bundle, 'log.json'), timeoutSeconds: config.runtimeTimeoutSeconds };
    await new OciRuntime(options, commands, () => commands.capture()).delete(args.id, true);
  });
  await attempt('end its processes', () => {
    killAll(cgroups);
  });
  await attempt('remove its cgroups', () => removeCgroups(cgroups, AbortSignal.timeout(cgroupTimeoutMs)));
  await attempt('unmount its rootfs', () => {
    unmountRootfs(bundle, native);
  });
  if (shim !== undefined && !answers(shim.socketPath, native))
    await attempt('clean up after its shim', () => deleteShim(shim, native));
  const response =
    farewell?.response ?? (record === undefined ? toldBefore(bundle) : undefined) ?? responseFrom(record, pid);
  await attempt('note its exit', () => noteAnswer(bundle, response));
  for (const file of [containerRecordFile, shimRecordFile]) unlinkQuietly(join(bundle, file));
  return response;
}

/** A manager that is killed before it has our answer asks once more, when the record is gone. */
function noteAnswer(bundle: string, response: Init<task.DeleteResponse>): void {
  const path = join(bundle, answerFile);
  writeFileSync(`${path}.new`, task.DeleteResponse.encode(response), { mode: 0o600 });
  renameSync(`${path}.new`, path);
}

function toldBefore(bundle: string): Init<task.DeleteResponse> | undefined {
  try {
    return task.DeleteResponse.decode(readFileSync(join(bundle, answerFile)));
  } catch {
    return undefined;
  }
}

/** Those that were noted; of a create that was cut off, those of its process and of its configuration. */
function cgroupsOf(record: ContainerRecord | undefined, pid: number, bundle: string, id: string): CgroupDirectories {
  if (record !== undefined && Object.keys(record.cgroups).length > 0) return record.cgroups;
  const ofProcess = pid > 0 && isOurs(pid, bundle) ? containerCgroups(pid) : {};
  try {
    const spec = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as Spec;
    // Only what a create has begun to make is looked for by the configuration.
    return record === undefined ? ofProcess : { ...specCgroups(spec, id), ...ofProcess };
  } catch {
    return ofProcess;
  }
}

/** The exit that the shim had noted, else "killed, now". */
function responseFrom(record: ContainerRecord | undefined, pid: number): Init<task.DeleteResponse> {
  const exit = record?.init.exit ?? null;
  const exitedAt = exit === null ? BigInt(Date.now()) * 1_000_000n : BigInt(exit.at);
  return { pid, exitStatus: exit?.status ?? killedStatus, exitedAt: toTimestamp(exitedAt) };
}

/** Named by a flag, or the folder of that id beside the one we were started in, or that one. */
function bundleOf({ bundle, id }: ShimArguments): string {
  if (bundle !== '') return bundle;
  const cwd = process.cwd();
  const beside = join(dirname(cwd), id);
  return basename(cwd) !== id && existsSync(beside) ? beside : cwd;
}

function runtimeOf(
  record: ContainerRecord | undefined,
  args: ShimArguments,
  bundle: string,
  config: ShimConfig,
): RuntimeRecord {
  return (
    record?.runtime ??
    resolveRuntime(runc.Options.decode(new Uint8Array()), args.namespace, join(bundle, 'work'), config)
  );
}

function readInitPid(bundle: string): number {
  try {
    return Number(readFileSync(initPidPath(bundle), 'utf8')) || 0;
  } catch {
    return 0;
  }
}

/** Whether a pid from a file that may be old is still a process of that bundle's container: its root is the bundle's rootfs. */
function isOurs(pid: number, bundle: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/mountinfo`, 'utf8').includes(bundle);
  } catch {
    return false;
  }
}

/** What was the shim's own: its sockets, its sandbox. */
async function deleteShim(shim: ShimRecord, native: NativeAddon): Promise<void> {
  for (const path of [shim.socketPath, shim.attach?.path ?? '']) if (path !== '') rmSync(path, { force: true });
  const consoles = consoleSocketPrefix(shim);
  for (const name of readdirSync(shim.socketFolder))
    if (name.startsWith(consoles)) rmSync(join(shim.socketFolder, name));
  const { sandbox } = shim;
  if (sandbox === null) return;
  const isThere = () => sandbox.state === 'ready' && commandOf(sandbox.pid) === 'berth-pause';
  if (isThere()) native.kill(sandbox.pid, sigkill);
  for (const deadline = Date.now() + killTimeoutMs; isThere() && Date.now() < deadline;)
    await new Promise((resolve) => setTimeout(resolve, 5));
  if (sandbox.shmPath !== '') unmountAllUnder(sandbox.shmPath, native);
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')[0] ?? '';
  } catch {
    return '';
  }
}

async function attempt(what: string, step: () => void | Promise<void>): Promise<void> {
  try {
    await step();
  } catch (error) {
    process.stderr.write(`could not ${what}: ${error instanceof Error ? error.message : String(error)}\n`);
  }
}

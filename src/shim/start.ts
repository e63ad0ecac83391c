import { closeSync, fstatSync, linkSync, mkdirSync, readFileSync, renameSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError, unlinkQuietly, type NativeAddon } from '../linux/index.ts';
import type { Spec } from '../oci/index.ts';
import type { ShimArguments } from './args.ts';
import { bootstrapAnswer, type BootstrapInput, readBootstrapInput } from './bootstrap.ts';
import type { ShimConfig } from './config.ts';
import { Daemon } from './daemon.ts';
import { checkName } from './ids.ts';
import type { ShimRecord } from './record.ts';
import { sha256 } from './sha256.ts';
import { answers } from './shim-socket.ts';
import { takeShimPlace } from './shim-process.ts';

/** Containers with one of these annotations share a shim with all that have the same value; the first that is there counts. */
const groupAnnotations = ['io.containerd.runc.v2.group', 'io.kubernetes.cri.sandbox-id'];

const backlog = 512;
const maxInputBytes = 10 * 1024 * 1024;
/** Where the launcher waits for the answer; see src/native/launcher. */
const resultDescriptor = 3;

/**
 * `start`: answers with the address of the shim that serves this container, which is this very process from then on, unless
 * there is one for its group already.
 */
export function start(args: ShimArguments, native: NativeAddon, config: ShimConfig): void {
  checkName(args.id, 'id');
  checkName(args.namespace, 'namespace');
  const bundle = process.cwd();
  const input = readBootstrapInput(readInput(), args.id, args.namespace, config.maxShimVersion);
  const folder = input.socketFolder ?? config.socketFolder;
  mkdirSync(folder, { recursive: true, mode: 0o711 });
  const socketPath = join(folder, socketName(args, groupOf(bundle) ?? args.id));
  const address = `unix://${socketPath}`;
  const listener = claimSocket(socketPath, native);
  try {
    writeFileSync(join(bundle, 'address'), address, { mode: 0o600 });
    if (listener !== undefined) {
      takeShimPlace(native, config, input.options?.shimCgroup ?? '');
      const record = newRecord({ args, bundle, socketPath, socketFolder: folder, input, config });
      new Daemon(record, listener, native, config);
    }
    sendAnswer(bootstrapAnswer(input.form, address));
  } catch (error) {
    // Of a start that was given up (its bundle is gone, say, or whoever waited for the answer) nothing may be left.
    if (listener !== undefined) unlinkQuietly(socketPath);
    throw error;
  }
}

interface NewShim {
  args: ShimArguments;
  bundle: string;
  socketPath: string;
  socketFolder: string;
  input: BootstrapInput;
  config: ShimConfig;
}

function newRecord({ args, bundle, socketPath, socketFolder, input, config }: NewShim): ShimRecord {
  return {
    version: 1,
    namespace: args.namespace,
    id: args.id,
    bundle,
    socketPath,
    socketFolder,
    eventsAddress: input.eventsAddress ?? config.eventsAddress,
    managerAddress: args.address,
    debug: args.debug || input.debug,
    startedAt: (BigInt(Date.now()) * 1_000_000n).toString(),
    sandbox: null,
    containers: [],
    events: [],
    nextEventSequence: 1,
    nextLoopId: 1,
    upgrades: 0,
    wakes: 0,
    idleSeconds: config.sleepAfterSeconds,
    attach: null,
  };
}

/** All of stdin, if it is something that has an end. */
function readInput(): Buffer {
  try {
    const kind = fstatSync(0);
    if (kind.isCharacterDevice()) return Buffer.alloc(0);
    return readFileSync(0).subarray(0, maxInputBytes);
  } catch {
    return Buffer.alloc(0);
  }
}

function groupOf(bundle: string): string | undefined {
  const { annotations } = JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as Spec;
  const group = groupAnnotations
    .map((name) => annotations?.[name])
    .find((value) => value !== undefined && value !== '');
  return group === undefined ? undefined : checkName(group, 'group annotation');
}

/** The same for everybody who asks for this group, and of a length that always fits a socket's path. */
function socketName({ address, namespace }: ShimArguments, group: string): string {
  return sha256(JSON.stringify([address, namespace, group]));
}

/**
 * A listening socket at the path; undefined when another shim listens there. It appears there in one step, listening: nobody can
 * meet a socket that does not answer yet and take it for a dead shim's.
 */
function claimSocket(path: string, native: NativeAddon): number | undefined {
  const own = `${path}.${process.pid}`;
  unlinkQuietly(own);
  const listener = native.listenUnix(own, backlog, 0o600);
  try {
    for (;;) {
      try {
        linkSync(own, path);
        return listener;
      } catch (error) {
        if (!isSystemError(error, 'EEXIST')) throw error;
      }
      if (answers(path, native)) {
        closeSync(listener);
        return undefined;
      }
      removeDead(path, native);
    }
  } catch (error) {
    closeSync(listener);
    throw error;
  } finally {
    unlinkQuietly(own);
  }
}

/** Takes a dead shim's socket away; should somebody have put a living one there in between, it is put back. */
function removeDead(path: string, native: NativeAddon): void {
  const aside = `${path}.${process.pid}.dead`;
  try {
    renameSync(path, aside);
  } catch (error) {
    if (isSystemError(error, 'ENOENT')) return;
    throw error;
  }
  if (answers(aside, native)) renameSync(aside, path);
  else unlinkQuietly(aside);
}

/** The launcher, our parent, prints what comes here and exits. */
function sendAnswer(answer: Buffer): void {
  const bytes = Buffer.concat([Buffer.from('0\n'), answer]);
  for (let at = 0; at < bytes.length;) at += writeSync(resultDescriptor, bytes, at);
  closeSync(resultDescriptor);
}

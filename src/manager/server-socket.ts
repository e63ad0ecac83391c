import { chmodSync, existsSync, lstatSync, mkdirSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { connect, type Server, type Socket } from 'node:net';
import { dirname, join } from 'node:path';
import { isSystemError, type NativeAddon, type PeerCredentials } from '../linux/index.ts';

const folderMode = 0o711;
/** root:root, so that others of the group can be let in later by nothing but chgrp. */
const socketMode = 0o660;
/** What sun_path of unix(7) holds, without the zero at its end. */
const maxPathBytes = 107;
const answerMilliseconds = 1000;
const temporaryPrefix = '.berth-';

let placed = 0;

/** A socket that is at its path. */
export interface PlacedSocket {
  readonly server: Server;
  /** Takes the file away if it is still ours, and listens no more; connections that there are stay. */
  remove(): void;
}

/**
 * Puts a listening socket at a path, in one step: it is made under another name in the same folder, and renamed when it listens and has its
 * mode (0660). So nobody meets one that does not answer, and a socket that a dead process has left is replaced. A missing folder is made
 * with mode 0711.
 *
 * @param listen makes a server that listens at the path it is given
 * @throws when somebody answers at the path, when something else than a socket is there, and what `listen` throws
 */
export async function placeSocket(path: string, listen: (path: string) => Promise<Server>): Promise<PlacedSocket> {
  const folder = dirname(path);
  const temporary = join(folder, `${temporaryPrefix}${process.pid}-${++placed}`);
  for (const name of [path, temporary]) {
    if (Buffer.byteLength(name) > maxPathBytes) {
      throw new Error(
        `the socket's path ${name} is too long: a unix socket's may have ${maxPathBytes} bytes; choose a shorter one`,
      );
    }
  }
  mkdirSync(folder, { recursive: true, mode: folderMode });
  await assertFree(path);
  removeAbandoned(folder);
  rmSync(temporary, { force: true });
  // The file is made within the call: nobody else can connect before the mode is right.
  const before = process.umask(0o177);
  let listening: Promise<Server>;
  try {
    listening = listen(temporary);
  } finally {
    process.umask(before);
  }
  const server = await listening;
  const { ino } = lstatSync(temporary);
  chmodSync(temporary, socketMode);
  renameSync(temporary, path);
  return {
    server,
    remove: () => {
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) rmSync(path, { force: true });
      server.close();
    },
  };
}

/** Sockets of processes that died before they could rename them. */
function removeAbandoned(folder: string): void {
  for (const name of readdirSync(folder)) {
    const [, pid] = /^\.berth-(\d+)-\d+$/.exec(name) ?? [];
    if (pid !== undefined && !existsSync(`/proc/${pid}`)) rmSync(join(folder, name), { force: true });
  }
}

async function assertFree(path: string): Promise<void> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there === undefined) return;
  if (!there.isSocket())
    throw new Error(`${path} is in the way and is no socket: move it, or choose another path (--socket)`);
  if (await answers(path)) {
    throw new Error(
      `somebody listens on ${path} already ("ss -xlp" shows who): stop it, or choose another path (--socket)`,
    );
  }
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = connect(path);
    const done = (answer: boolean) => {
      socket.destroy();
      resolve(answer);
    };
    // Who neither takes nor refuses has a full queue: somebody is there.
    socket.setTimeout(answerMilliseconds, () => done(true));
    socket.once('connect', () => done(true));
    socket.once('error', (error) => {
      if (isSystemError(error, 'ECONNREFUSED', 'ENOENT')) done(false);
      else if (isSystemError(error, 'EAGAIN')) done(true);
      else reject(new Error(`cannot tell whether somebody listens on ${path}: ${error.message}`, { cause: error }));
    });
  });
}

/** The process at the other end of a connection, as it was when it connected. @throws when the connection is gone */
export function ownerOf(socket: Socket, native: Pick<NativeAddon, 'peerCredentials'>): PeerCredentials {
  // Node has no other way to the descriptor.
  const { _handle: handle } = socket as unknown as { _handle?: { fd?: number } | null };
  const fd = handle?.fd ?? -1;
  if (fd < 0) throw new Error('the connection is closed');
  return native.peerCredentials(fd);
}

/** Whether a connection may be used: root's may, whatever the file's mode lets in. */
export function isAuthorized(socket: Socket, native: Pick<NativeAddon, 'peerCredentials'>): boolean {
  try {
    return ownerOf(socket, native).uid === 0;
  } catch {
    return false;
  }
}

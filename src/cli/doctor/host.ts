import { execFile } from 'node:child_process';
import { constants } from 'node:fs';
import { access, readdir, readFile, stat, statfs } from 'node:fs/promises';
import { release } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const programMs = 10_000;

export interface FileFacts {
  readonly mode: number;
  readonly uid: number;
}

export interface FilesystemFacts {
  /** The kernel's magic number. */
  readonly type: number;
  readonly freeBytes: number;
  readonly totalBytes: number;
  readonly freeInodes: number;
  readonly totalInodes: number;
}

/** The machine as `doctor` looks at it; tests have one of their own. */
export interface Host {
  readonly kernel: string;
  readonly uid: number;
  /** Undefined when the file cannot be read. */
  read(path: string): Promise<string | undefined>;
  /** Names in a folder; undefined when it cannot be read. */
  list(folder: string): Promise<readonly string[] | undefined>;
  facts(path: string): Promise<FileFacts | undefined>;
  filesystem(path: string): Promise<FilesystemFacts | undefined>;
  /** Path of a program in one of the folders; undefined when it is in none. */
  find(program: string, folders?: readonly string[]): Promise<string | undefined>;
  /** What it prints on stdout, or an Error that says why it failed. */
  run(program: string, args: readonly string[]): Promise<string | Error>;
}

export function realHost(searchPath: string): Host {
  const folders = searchPath.split(':').filter((folder) => folder !== '');
  return {
    kernel: release(),
    uid: process.getuid?.() ?? -1,
    read: (path) => orUndefined(readFile(path, 'utf8')),
    list: (folder) => orUndefined(readdir(folder)),
    facts: (path) => orUndefined(stat(path)),
    filesystem: async (path) => {
      const facts = await orUndefined(statfs(path));
      return (
        facts && {
          type: facts.type,
          freeBytes: facts.bavail * facts.bsize,
          totalBytes: facts.blocks * facts.bsize,
          freeInodes: facts.ffree,
          totalInodes: facts.files,
        }
      );
    },
    find: async (program, among = folders) => {
      for (const folder of program.includes('/') ? [''] : among) {
        const path = program.includes('/') ? program : join(folder, program);
        const found = await orUndefined(access(path, constants.X_OK).then(() => path));
        if (found !== undefined) return found;
      }
      return undefined;
    },
    run: async (program, args) => {
      try {
        const { stdout } = await promisify(execFile)(program, [...args], { timeout: programMs, killSignal: 'SIGKILL' });
        return stdout;
      } catch (error) {
        return error instanceof Error ? error : new Error(String(error));
      }
    },
  };
}

async function orUndefined<T>(promise: Promise<T>): Promise<T | undefined> {
  try {
    return await promise;
  } catch {
    return undefined;
  }
}

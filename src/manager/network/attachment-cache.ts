import { mkdirSync, readFileSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSystemError } from '../../linux/index.ts';
import { type NetworkConf, isJsonObject } from './network-conf.ts';
import type { NetworkResult } from './result.ts';

/** A pod's interface in one network. */
export interface Attachment {
  readonly interfaceName: string;
  /** As it was when the pod was attached: changes of the file do not change how it is detached. */
  readonly network: NetworkConf;
  /** null until ADD has succeeded. */
  readonly result: NetworkResult | null;
}

/** All that is needed to detach a pod, whatever has gone since. */
export interface PodAttachments {
  readonly kind: typeof attachmentsKind;
  readonly sandboxId: string;
  readonly netnsPath: string;
  /** CNI_ARGS. */
  readonly arguments: string;
  readonly capabilities: Readonly<Record<string, unknown>>;
  /** In the order in which they are made. */
  readonly attachments: readonly Attachment[];
}

export const attachmentsKind = 'berth.cni.v1';
const suffix = '.json';
const unfinished = '.tmp';

function isAttachments(value: unknown, sandboxId: string): value is PodAttachments {
  return (
    isJsonObject(value) &&
    value['kind'] === attachmentsKind &&
    value['sandboxId'] === sandboxId &&
    Array.isArray(value['attachments'])
  );
}

/** What is written before a pod is attached and kept until it is detached: a file for each pod. */
export class AttachmentCache {
  readonly #folder: string;

  constructor(folder: string) {
    this.#folder = folder;
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    for (const name of readdirSync(folder)) if (name.endsWith(unfinished)) rmSync(join(folder, name), { force: true });
  }

  #path(sandboxId: string): string {
    return join(this.#folder, sandboxId + suffix);
  }

  write(attachments: PodAttachments): void {
    const path = this.#path(attachments.sandboxId);
    writeFileSync(path + unfinished, JSON.stringify(attachments), { mode: 0o600 });
    renameSync(path + unfinished, path);
  }

  /** undefined when there is nothing to detach; 'unreadable' for a file that a crash of the machine has left half-written. */
  read(sandboxId: string): PodAttachments | 'unreadable' | undefined {
    let text: string;
    try {
      text = readFileSync(this.#path(sandboxId), 'utf8');
    } catch (error) {
      if (isSystemError(error, 'ENOENT')) return undefined;
      throw error;
    }
    try {
      const value: unknown = JSON.parse(text);
      return isAttachments(value, sandboxId) ? value : 'unreadable';
    } catch {
      return 'unreadable';
    }
  }

  remove(sandboxId: string): void {
    rmSync(this.#path(sandboxId), { force: true });
  }

  /** The ids of all pods that are attached, or may be. */
  list(): string[] {
    return readdirSync(this.#folder)
      .filter((name) => name.endsWith(suffix))
      .map((name) => name.slice(0, -suffix.length));
  }
}

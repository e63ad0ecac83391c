import { open, readdir, stat } from 'node:fs/promises';
import { extname, join } from 'node:path';
import type { Logger } from 'pino';
import { isSystemError } from '../../linux/index.ts';
import { type NetworkConf, type PluginConf, parseConflist, parsePluginFile, parseSingleConf } from './network-conf.ts';

export interface LoadedNetworks {
  /** In lexical order of their files; at most as many as are wanted. */
  readonly networks: readonly NetworkConf[];
  /** Files before those that cannot be used, as `FILE: REASON`. */
  readonly skipped: readonly string[];
}

const extensions = ['.conflist', '.conf', '.json'];
const maxFileBytes = 1024 * 1024;

/** Names in the order in which they count; none where the folder is not there. */
async function namesIn(folder: string): Promise<string[]> {
  try {
    return (await readdir(folder)).sort();
  } catch (error) {
    if (isSystemError(error, 'ENOENT', 'ENOTDIR')) return [];
    throw error;
  }
}

/** @throws {Error} for what is no file of a size that a configuration has */
async function readConf(path: string): Promise<string> {
  const file = await open(path);
  try {
    const stats = await file.stat();
    if (!stats.isFile()) throw new Error('it is no file');
    if (stats.size > maxFileBytes) throw new Error(`it has more than ${maxFileBytes} bytes`);
    return await file.readFile('utf8');
  } finally {
    await file.close();
  }
}

/** Reads the folder of network configurations. */
export class ConfFolder {
  readonly #folder: string;
  readonly #most: number;
  readonly #log: Logger;
  /** What was said of which file, so that it is said once. */
  #reported = new Map<string, string>();

  /** @param most how many networks are used; 0 for all that are there */
  constructor(folder: string, most: number, log: Logger) {
    this.#folder = folder;
    this.#most = most > 0 ? most : Infinity;
    this.#log = log;
  }

  /** A file that cannot be used is skipped, and logged once for each reason. */
  async load(): Promise<LoadedNetworks> {
    const networks: NetworkConf[] = [];
    const reasons = new Map<string, string>();
    const names = (await namesIn(this.#folder)).filter((name) => extensions.includes(extname(name)));
    for (const path of names.map((name) => join(this.#folder, name))) {
      if (networks.length >= this.#most) break;
      try {
        if ((await stat(path)).isDirectory()) continue;
        networks.push(await this.#read(path));
      } catch (error) {
        reasons.set(path, (error as Error).message);
      }
    }
    for (const [file, reason] of reasons) {
      if (this.#reported.get(file) !== reason) this.#log.warn({ file, reason }, 'network configuration skipped');
    }
    this.#reported = reasons;
    return { networks, skipped: [...reasons].map(([file, reason]) => `${file}: ${reason}`) };
  }

  /** A text that changes when a file does, for where the kernel cannot tell. */
  async signature(): Promise<string> {
    const paths = [this.#folder, ...(await namesIn(this.#folder)).map((name) => join(this.#folder, name))];
    const lines = paths.map(async (path) => {
      try {
        const { ino, size, mtimeNs } = await stat(path, { bigint: true });
        return `${path} ${ino} ${size} ${mtimeNs}`;
      } catch {
        return path;
      }
    });
    return (await Promise.all(lines)).join('\n');
  }

  async #read(path: string): Promise<NetworkConf> {
    const text = await readConf(path);
    if (extname(path) !== '.conflist') return parseSingleConf(text, path);
    const network = parseConflist(text, path);
    if (!network.takesPluginFiles) return network;
    const plugins = [...network.plugins, ...(await this.#pluginFiles(network.name))];
    if (plugins.length === 0) throw new Error('it has no plugins');
    return { ...network, plugins };
  }

  /** Other programs may add plugins to a network by files in a folder of its name. */
  async #pluginFiles(networkName: string): Promise<PluginConf[]> {
    const folder = join(this.#folder, networkName);
    const names = (await namesIn(folder)).filter((name) => extname(name) === '.conf');
    return Promise.all(
      names.map(async (name) => {
        const path = join(folder, name);
        try {
          return parsePluginFile(await readConf(path));
        } catch (error) {
          throw new Error(`${path}: ${(error as Error).message}`, { cause: error });
        }
      }),
    );
  }
}

import { isIP } from 'node:net';
import { atLeast, compareVersions, newestVersion, oldestVersion } from './version.ts';

/** One plugin of a network: what its file says, and that is handed to it. */
export interface PluginConf extends Readonly<Record<string, unknown>> {
  /** The name of its program in the folders of binaries. */
  readonly type: string;
}

/** A network configuration: plugins that are called one after the other. Plain JSON. */
export interface NetworkConf {
  readonly name: string;
  /** The version that is spoken to its plugins. */
  readonly cniVersion: string;
  /** Where it was read. */
  readonly file: string;
  readonly disableCheck: boolean;
  readonly disableGc: boolean;
  /** Whether more plugins are looked for in a folder beside the file that has the network's name. */
  readonly takesPluginFiles: boolean;
  readonly plugins: readonly PluginConf[];
}

const namePattern = /^[A-Za-z0-9][A-Za-z0-9_.-]*$/;
const maxNameLength = 255;
const maxPlugins = 64;

export type JsonObject = Record<string, unknown>;

export function isJsonObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** @throws {Error} that says what is wrong */
function parseObject(text: string): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`it is no JSON: ${(error as Error).message}`, { cause: error });
  }
  if (!isJsonObject(value)) throw new Error('it is no JSON object');
  return value;
}

/** Files in use say both true and "true". */
function flag(object: JsonObject, key: string): boolean {
  const value = object[key] ?? false;
  if (typeof value === 'boolean') return value;
  if (typeof value === 'string' && /^(true|false)$/i.test(value)) return value.toLowerCase() === 'true';
  throw new Error(`"${key}" must be true or false`);
}

function nameOf(object: JsonObject): string {
  const name = object['name'];
  if (typeof name !== 'string' || name === '') throw new Error('it has no "name"');
  if (!namePattern.test(name) || name.length > maxNameLength) {
    throw new Error(`its name ${JSON.stringify(name.slice(0, maxNameLength))} must match ${namePattern.source}`);
  }
  return name;
}

/** The newest version that the file allows and Berth speaks. */
function versionOf(object: JsonObject): string {
  const single = object['cniVersion'] ?? (object['cniVersions'] === undefined ? oldestVersion : undefined);
  const several = object['cniVersions'] ?? [];
  if (!Array.isArray(several)) throw new Error('"cniVersions" must be a list of versions');
  // An empty version is what the oldest files have.
  const named: unknown[] =
    single === undefined ? several : [...(several as unknown[]), single === '' ? oldestVersion : single];
  const versions = named.map((version) => {
    if (typeof version !== 'string') throw new Error('"cniVersion" and "cniVersions" must be text such as "1.0.0"');
    return version;
  });
  const spoken = versions.filter((version) => atLeast(version, oldestVersion) && atLeast(newestVersion, version));
  const best = spoken.sort(compareVersions).at(-1);
  if (best === undefined) {
    throw new Error(
      `its CNI version ${versions.join(', ')} is not one that is spoken: ${oldestVersion} to ${newestVersion}`,
    );
  }
  return best;
}

function pluginOf(value: unknown, which: string): PluginConf {
  if (!isJsonObject(value)) throw new Error(`${which} is no JSON object`);
  const { type } = value;
  if (typeof type !== 'string' || type === '') throw new Error(`${which} has no "type"`);
  if (type.includes('/') || type.includes('\0') || type === '.' || type === '..' || type.length > maxNameLength) {
    throw new Error(`the type ${JSON.stringify(type.slice(0, maxNameLength))} of ${which} is no plain file name`);
  }
  const capabilities = value['capabilities'] ?? {};
  if (!isJsonObject(capabilities)) throw new Error(`"capabilities" of ${which} must be an object of true and false`);
  return { ...value, type };
}

/** A `.conflist`. @throws {Error} that says what is wrong with it */
export function parseConflist(text: string, file: string): NetworkConf {
  const object = parseObject(text);
  const inlineOnly = flag(object, 'loadOnlyInlinedPlugins');
  const plugins = object['plugins'] ?? [];
  if (!Array.isArray(plugins)) throw new Error('"plugins" must be a list');
  if (plugins.length > maxPlugins) throw new Error(`it has more than ${maxPlugins} plugins`);
  if (plugins.length === 0 && (inlineOnly || object['plugins'] !== undefined)) throw new Error('it has no plugins');
  return {
    name: nameOf(object),
    cniVersion: versionOf(object),
    file,
    disableCheck: flag(object, 'disableCheck'),
    disableGc: flag(object, 'disableGC'),
    takesPluginFiles: !inlineOnly,
    plugins: plugins.map((plugin, at) => pluginOf(plugin, `plugin ${at + 1}`)),
  };
}

/** A `.conf` or `.json`: one plugin, which is a network of itself. @throws {Error} that says what is wrong with it */
export function parseSingleConf(text: string, file: string): NetworkConf {
  const object = parseObject(text);
  if (object['plugins'] !== undefined) throw new Error('it is a list of plugins: name it .conflist');
  return {
    name: nameOf(object),
    cniVersion: versionOf(object),
    file,
    disableCheck: false,
    disableGc: false,
    takesPluginFiles: false,
    plugins: [pluginOf(object, 'it')],
  };
}

/** A plugin from the folder that has the network's name. @throws {Error} that says what is wrong with it */
export function parsePluginFile(text: string): PluginConf {
  return pluginOf(parseObject(text), 'it');
}

/** What the plugin says it understands in `runtimeConfig`. */
export function capabilitiesOf(plugin: PluginConf): string[] {
  const { capabilities } = plugin;
  if (!isJsonObject(capabilities)) return [];
  return Object.keys(capabilities).filter((name) => capabilities[name] === true);
}

/** 4 or 6 for `ADDRESS/LENGTH`, 0 for what is none. */
export function cidrFamily(text: string): 0 | 4 | 6 {
  const match = /^([^/]{1,64})\/(\d{1,3})$/.exec(text);
  if (match === null) return 0;
  const family = isIP(match[1] as string) as 0 | 4 | 6;
  return family !== 0 && !text.includes('%') && Number(match[2]) <= (family === 4 ? 32 : 128) ? family : 0;
}

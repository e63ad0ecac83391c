import { isIP } from 'node:net';
import { type JsonObject, cidrFamily, isJsonObject } from './network-conf.ts';
import { atLeast } from './version.ts';

/** A plugin's answer to ADD, as it gave it, after it was checked. */
export type NetworkResult = Readonly<JsonObject>;

/** An answer that cannot be believed; the message says what is wrong with it. */
export class ResultError extends Error {
  override readonly name = 'ResultError';
}

const most = { interfaces: 128, ips: 64, routes: 1024, names: 64, text: 4096 };

function list(object: JsonObject, key: string, limit: number): JsonObject[] {
  const value = object[key] ?? [];
  if (!Array.isArray(value)) throw new ResultError(`"${key}" is no list`);
  if (value.length > limit) throw new ResultError(`"${key}" has more than ${limit} entries`);
  return value.map((entry: unknown, at) => {
    if (!isJsonObject(entry)) throw new ResultError(`entry ${at} of "${key}" is no object`);
    return entry;
  });
}

function text(object: JsonObject, key: string, what: string, limit = most.text): string {
  const value = object[key] ?? '';
  if (typeof value !== 'string') throw new ResultError(`"${key}" of ${what} is no text`);

  if (value.length > limit || /[\x00-\x1f\x7f]/.test(value)) throw new ResultError(`"${key}" of ${what} is not valid`);
  return value;
}

function checkAddress(value: string, what: string): void {
  if (isIP(value) === 0 || value.includes('%'))
    throw new ResultError(`${what} ${JSON.stringify(value)} is no IP address`);
}

function checkNetwork(value: string, what: string): void {
  if (cidrFamily(value) === 0) throw new ResultError(`${what} ${JSON.stringify(value)} is no address with a length`);
}

function checkOptionalAddress(object: JsonObject, key: string, what: string): void {
  const value = text(object, key, what);
  if (value !== '') checkAddress(value, `"${key}" of ${what}`);
}

function checkRoutes(object: JsonObject): void {
  for (const route of list(object, 'routes', most.routes)) {
    checkNetwork(text(route, 'dst', 'a route'), '"dst" of a route');
    checkOptionalAddress(route, 'gw', 'a route');
  }
}

function checkDns(object: JsonObject): void {
  const dns = object['dns'] ?? {};
  if (!isJsonObject(dns)) throw new ResultError('"dns" is no object');
  text(dns, 'domain', 'dns');
  for (const key of ['nameservers', 'search', 'options']) {
    const names = dns[key] ?? [];
    const valid = (name: unknown) => typeof name === 'string' && name.length <= most.text;
    if (!Array.isArray(names) || names.length > most.names || !names.every(valid)) {
      throw new ResultError(`"${key}" of dns is no list of names`);
    }
  }
}

/** `ip4` and `ip6` of 0.1.0 and 0.2.0. */
function checkOldAddress(result: JsonObject, key: 'ip4' | 'ip6'): void {
  const value = result[key];
  if (value === undefined || value === null) return;
  if (!isJsonObject(value)) throw new ResultError(`"${key}" is no object`);
  checkNetwork(text(value, 'ip', key), `"ip" of ${key}`);
  checkOptionalAddress(value, 'gateway', key);
  checkRoutes(value);
}

function checkResult(result: JsonObject): void {
  const interfaces = list(result, 'interfaces', most.interfaces);
  for (const entry of interfaces) {
    const name = text(entry, 'name', 'an interface', 255);
    if (name === '' || name.includes('/'))
      throw new ResultError(`the interface name ${JSON.stringify(name)} is not valid`);
    for (const key of ['mac', 'sandbox', 'socketPath', 'pciID']) text(entry, key, `interface ${name}`);
  }
  for (const ip of list(result, 'ips', most.ips)) {
    checkNetwork(text(ip, 'address', 'an IP'), '"address" of an IP');
    checkOptionalAddress(ip, 'gateway', 'an IP');
    const at = ip['interface'] ?? undefined;
    if (at === undefined) continue;
    // 0.3 and 0.4 plugins without interfaces say 0, or -1
    const none = interfaces.length === 0 && (at === 0 || at === -1);
    if (!none && (!Number.isInteger(at) || (at as number) < 0 || (at as number) >= interfaces.length)) {
      throw new ResultError(`an IP is of interface ${JSON.stringify(at)}, and there are ${interfaces.length}`);
    }
  }
  checkOldAddress(result, 'ip4');
  checkOldAddress(result, 'ip6');
  checkRoutes(result);
  checkDns(result);
}

/** Reads what a plugin printed. @throws {ResultError} */
export function parseResult(printed: string): NetworkResult {
  let result: unknown;
  try {
    result = JSON.parse(printed);
  } catch (error) {
    throw new ResultError('it is no JSON', { cause: error });
  }
  if (!isJsonObject(result)) throw new ResultError('it is no JSON object');
  checkResult(result);
  return result;
}

/**
 * The result as a plugin of another version expects it: before 1.0.0 addresses have a family, and since then none.
 * Results before 0.3.0 are of another kind, and stay as they are.
 */
export function resultForVersion(result: NetworkResult, cniVersion: string): NetworkResult {
  const ips = result['ips'];
  const given = result['cniVersion'];
  if (given === cniVersion || !Array.isArray(ips) || !atLeast(cniVersion, '0.3.0')) return result;
  const withFamily = !atLeast(cniVersion, '1.0.0');
  const converted = (ips as JsonObject[]).map((ip) => {
    const others = Object.entries(ip).filter(([key]) => key !== 'version');
    const family = withFamily ? [['version', String(cidrFamily(String(ip['address'])))]] : [];
    return Object.fromEntries([...family, ...others]) as JsonObject;
  });
  return { ...result, cniVersion, ips: converted };
}

/** The addresses of the pod's interface, without lengths, in the result's order. */
export function addressesOf(result: NetworkResult, interfaceName: string): string[] {
  const interfaces = list(result, 'interfaces', most.interfaces);
  const found = list(result, 'ips', most.ips)
    .filter((ip) => {
      const at = ip['interface'];
      return typeof at !== 'number' || interfaces.length === 0 || interfaces[at]?.['name'] === interfaceName;
    })
    .map((ip) => ip['address']);
  const old = ['ip4', 'ip6'].map((key) => (isJsonObject(result[key]) ? result[key]['ip'] : undefined));
  const addresses = [...found, ...old].filter((address) => typeof address === 'string');
  return [...new Set(addresses.map((address) => address.slice(0, address.indexOf('/'))))];
}

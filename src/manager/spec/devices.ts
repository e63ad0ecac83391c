import type { BigIntStats } from 'node:fs';
import { readdir, realpath, stat } from 'node:fs/promises';
import { isAbsolute, join, posix } from 'node:path';
import { Code } from '../../grpc/index.ts';
import { isSystemError } from '../../linux/index.ts';
import type { cri } from '../../wire/index.ts';
import { withinDeadline } from './deadline.ts';
import { refuse } from './refusal.ts';

/** An entry of `linux.devices`. */
export interface Device {
  readonly type: 'b' | 'c';
  readonly path: string;
  readonly major: number;
  readonly minor: number;
  /** Permission bits. */
  readonly fileMode: number;
  readonly uid: number;
  readonly gid: number;
}

/** An entry of `linux.resources.devices`; without numbers it means all devices. */
export interface DeviceRule {
  readonly allow: boolean;
  readonly type?: 'b' | 'c';
  readonly major?: number;
  readonly minor?: number;
  readonly access: string;
}

const permissionBits = 0o7777n;
/** Folders below /dev that are file systems of their own in a container, or no devices. */
const passedOver = new Set(['pts', 'shm', 'fd', 'mqueue', '.lxc', '.lxd-mounts', '.udev']);

export function checkDevices({ devices, CDIDevices, annotations }: cri.ContainerConfig): void {
  for (const [index, { hostPath, containerPath, permissions }] of devices.entries()) {
    const field = `config.devices[${index}]`;
    if (!isAbsolute(hostPath)) refuse(`${field}.hostPath`, `${JSON.stringify(hostPath)} is no absolute path`);
    if (containerPath !== '' && !isAbsolute(containerPath)) {
      refuse(`${field}.containerPath`, `${JSON.stringify(containerPath)} is no absolute path`);
    }
    if (!/^(?!.*(.).*\1)[rwm]+$/.test(permissions)) {
      refuse(`${field}.permissions`, `"${permissions}" is not made of r, w and m, each once at most`);
    }
  }
  const why = 'the container device interface (CDI) is not implemented: name the devices in config.devices';
  if (CDIDevices.length > 0) refuse('config.CDIDevices', why, Code.Unimplemented);
  const annotation = Object.keys(annotations).find((name) => name.startsWith('cdi.k8s.io/'));
  if (annotation !== undefined) refuse(`config.annotations["${annotation}"]`, why, Code.Unimplemented);
}

/**
 * The devices of a container and the rules of who may use what: nothing but the runtime's usual ones (null, zero, tty,
 * …), and those asked for. Links of the host are followed; a folder means all devices in it and below. A privileged
 * container has all of the host's.
 * @throws {RpcError} INVALID_ARGUMENT for what is no device
 */
export async function deviceAccess(config: cri.ContainerConfig): Promise<{ devices: Device[]; rules: DeviceRule[] }> {
  const devices: Device[] = [];
  const rules: DeviceRule[] = [{ allow: false, access: 'rwm' }];
  for (const [index, { hostPath, containerPath, permissions }] of config.devices.entries()) {
    const found = await requested(hostPath, containerPath, `config.devices[${index}].hostPath`);
    devices.push(...found);
    rules.push(...found.map(({ type, major, minor }) => ({ allow: true, type, major, minor, access: permissions })));
  }
  if (config.linux?.securityContext?.privileged === true) {
    devices.push(...(await withinDeadline('/dev', devicesIn('/dev', '/dev'))));
    rules.push({ allow: true, access: 'rwm' });
  }
  return { devices: withoutRepetition(devices), rules };
}

async function requested(hostPath: string, containerPath: string, field: string): Promise<Device[]> {
  const inContainer = containerPath === '' ? hostPath : posix.normalize(containerPath);
  try {
    const path = await withinDeadline(hostPath, realpath(hostPath));
    const info = await withinDeadline(hostPath, stat(path, { bigint: true }));
    if (info.isDirectory()) return await withinDeadline(hostPath, devicesIn(path, inContainer));
    const device = deviceOf(info, inContainer);
    return device === undefined ? refuse(field, `${hostPath} is neither a device nor a folder of devices`) : [device];
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return refuse(field, `${hostPath} cannot be used: ${error.message}`);
  }
}

/**
 * Devices in a folder and below, in the order of their names. Links are passed over, and so is what goes away
 * meanwhile.
 */
async function devicesIn(folder: string, inContainer: string): Promise<Device[]> {
  const devices: Device[] = [];
  const entries = await readdir(folder, { withFileTypes: true });
  for (const entry of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name);
    const destination = posix.join(inContainer, entry.name);
    if (entry.isDirectory()) {
      if (!passedOver.has(entry.name)) devices.push(...(await devicesIn(path, destination)));
    } else if ((entry.isBlockDevice() || entry.isCharacterDevice()) && entry.name !== 'console') {
      const info = await stat(path, { bigint: true }).catch((error: unknown) => {
        if (isSystemError(error, 'ENOENT')) return undefined;
        throw error;
      });
      const device = info === undefined ? undefined : deviceOf(info, destination);
      if (device !== undefined) devices.push(device);
    }
  }
  return devices;
}

function deviceOf(info: BigIntStats, path: string): Device | undefined {
  if (!info.isBlockDevice() && !info.isCharacterDevice()) return undefined;
  return {
    type: info.isBlockDevice() ? 'b' : 'c',
    path,
    major: Number(((info.rdev >> 8n) & 0xfffn) | ((info.rdev >> 32n) & ~0xfffn)),
    minor: Number((info.rdev & 0xffn) | ((info.rdev >> 12n) & 0xffffff00n)),
    fileMode: Number(info.mode & permissionBits),
    uid: Number(info.uid),
    gid: Number(info.gid),
  };
}

/** The first at each path: what the request asks for comes before what a privileged container has anyway. */
function withoutRepetition(devices: readonly Device[]): Device[] {
  return [...new Map(devices.toReversed().map((device) => [device.path, device])).values()].reverse();
}

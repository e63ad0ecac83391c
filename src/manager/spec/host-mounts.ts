import { mkdir, realpath, stat } from 'node:fs/promises';
import { isAbsolute, posix } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import { isSystemError, type MountPoint, readMountInfo } from '../../linux/index.ts';
import type { Mount } from '../../oci/index.ts';
import { cri } from '../../wire/index.ts';
import { withinDeadline } from './deadline.ts';
import type { HostFacts } from './host.ts';
import { refuse } from './refusal.ts';

const { MountPropagation } = cri;
/** kubelet looks for this word (cri-api's ErrRROUnsupported). */
const rroUnsupported = 'RROUnsupported';
const folderMode = 0o755;

export type Propagation = 'rshared' | 'rslave';

/** Where the container sees the mount: a path without `.`, `..` and slashes at its end. */
export function containerPathOf({ containerPath }: { readonly containerPath: string }): string {
  const path = posix.normalize(containerPath);
  return path.length > 1 && path.endsWith('/') ? path.slice(0, -1) : path;
}

export function checkMounts(mounts: readonly cri.Mount[]): void {
  for (const [index, mount] of mounts.entries()) checkMount(mount, `config.mounts[${index}]`);
}

function checkMount(mount: cri.Mount, field: string): void {
  const { containerPath, hostPath, image, imageSubPath, propagation } = mount;
  if (!isAbsolute(containerPath) || containerPath.includes('\0')) {
    refuse(`${field}.containerPath`, `${JSON.stringify(containerPath)} is no absolute path`);
  }
  if (containerPathOf(mount) === '/')
    refuse(`${field}.containerPath`, 'nothing can be mounted over the whole container');
  if ((image !== undefined && image.image !== '') || imageSubPath !== '') {
    const why = 'images as mounts are not implemented: put the files into the image, or mount a folder of the host';
    refuse(`${field}.image`, why, Code.Unimplemented);
  }
  if (!isAbsolute(hostPath) || hostPath.includes('\0')) {
    refuse(`${field}.hostPath`, `${JSON.stringify(hostPath)} is no absolute path`);
  }
  if (mount.uidMappings.length > 0 || mount.gidMappings.length > 0) {
    refuse(`${field}.uidMappings`, 'mapping the ids of a mount is not implemented', Code.Unimplemented);
  }
  const known: number[] = Object.values(MountPropagation);
  if (!known.includes(propagation)) refuse(`${field}.propagation`, `${propagation} is not known`);
  if (!mount.recursiveReadOnly) return;
  if (!mount.readonly) refuse(`${field}.recursiveReadOnly`, 'is true, and readonly is not');
  if (propagation !== MountPropagation.PROPAGATION_PRIVATE) {
    refuse(`${field}.recursiveReadOnly`, 'is for mounts with private propagation only');
  }
}

/**
 * The bind mounts that the request asks for, in its order, and what they make of the propagation of the container's
 * root. A path of the host that is not there becomes a folder; links in it are followed here, not by the runtime.
 * Relabelling for SELinux is for hosts that have it.
 * @throws {RpcError} FAILED_PRECONDITION for mounts whose propagation the host's own does not allow, or that cannot be
 * made read-only
 */
export async function hostMounts(
  mounts: readonly cri.Mount[],
  host: Pick<HostFacts, 'recursiveReadOnly'>,
): Promise<{ mounts: Mount[]; rootfsPropagation: Propagation | undefined }> {
  const bound = await Promise.all(
    mounts.map(async (mount, index) => {
      const source = await sourceOf(mount.hostPath, `config.mounts[${index}].hostPath`);
      const access = accessOf(mount, host);
      return { mount, source, access };
    }),
  );
  const propagated = bound.filter(({ mount }) => mount.propagation !== MountPropagation.PROPAGATION_PRIVATE);
  if (propagated.length > 0) {
    const points = readMountInfo();
    for (const { mount, source } of propagated) checkPropagation(mount.propagation, source, points);
  }
  const wanted = new Set(propagated.map(({ mount }) => mount.propagation));
  return {
    mounts: bound.map(({ mount, source, access }) => ({
      destination: containerPathOf(mount),
      type: 'bind',
      source,
      options: ['rbind', propagationOption(mount.propagation), access],
    })),
    rootfsPropagation: wanted.has(MountPropagation.PROPAGATION_BIDIRECTIONAL)
      ? 'rshared'
      : wanted.has(MountPropagation.PROPAGATION_HOST_TO_CONTAINER)
        ? 'rslave'
        : undefined,
  };
}

async function sourceOf(path: string, field: string): Promise<string> {
  try {
    await withinDeadline(path, stat(path)).catch(async (error: unknown) => {
      if (!isSystemError(error, 'ENOENT')) throw error;
      await withinDeadline(path, mkdir(path, { recursive: true, mode: folderMode }));
    });
    return await withinDeadline(path, realpath(path));
  } catch (error) {
    if (!isSystemError(error)) throw error;
    return refuse(field, `${path} cannot be used: ${error.message}`, Code.FailedPrecondition);
  }
}

function accessOf(mount: cri.Mount, host: Pick<HostFacts, 'recursiveReadOnly'>): 'rw' | 'ro' | 'rro' {
  if (!mount.readonly) return 'rw';
  if (!mount.recursiveReadOnly) return 'ro';
  if (host.recursiveReadOnly) return 'rro';
  const why = `${mount.hostPath} cannot be made read-only with all that is mounted below it: that takes Linux 5.12`;
  throw new RpcError(Code.FailedPrecondition, `${rroUnsupported}: ${why}`);
}

function propagationOption(propagation: cri.MountPropagation): string {
  if (propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL) return 'rshared';
  return propagation === MountPropagation.PROPAGATION_HOST_TO_CONTAINER ? 'rslave' : 'rprivate';
}

/**
 * Mounts only reach the container if the host's mount hands them on, and only come back to a shared one.
 * @param points as `readMountInfo` gives them
 */
export function checkPropagation(
  propagation: cri.MountPropagation,
  source: string,
  points: readonly MountPoint[],
): void {
  const point = mountPointOf(source, points);
  const accepted = propagation === MountPropagation.PROPAGATION_BIDIRECTIONAL ? ['shared:'] : ['shared:', 'master:'];
  if (point?.propagation.some((tag) => accepted.some((prefix) => tag.startsWith(prefix))) === true) return;
  const where = point?.path ?? '/';
  const needed = accepted.length === 1 ? 'shared' : 'shared or slave';
  throw new RpcError(
    Code.FailedPrecondition,
    `path "${source}" is mounted on "${where}" but it is not a ${needed} mount: "mount --make-rshared ${where}" makes it one`,
  );
}

/** The mount that a path is on: the last of those with the longest path. */
function mountPointOf(path: string, points: readonly MountPoint[]): MountPoint | undefined {
  let found: MountPoint | undefined;
  for (const point of points) {
    const contains = point.path === '/' || path === point.path || path.startsWith(`${point.path}/`);
    if (contains && point.path.length >= (found?.path.length ?? 0)) found = point;
  }
  return found;
}

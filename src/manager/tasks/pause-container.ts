import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { StartSandboxOptions } from './pod-shim.ts';
import type { SandboxSpec } from './sandbox-folder.ts';

/** By this name the static program does nothing but hold namespaces and reap. */
const program = '/berth-pause';
/** The user that pause images have. */
const uid = 65535;

/**
 * The configuration of a sandbox's own container, for shims without a sandbox service: a process of our static program, from no image,
 * that holds the pod's IPC, UTS and PID namespaces in its network namespace.
 * @param launcher absolute path of the static program
 */
export function pauseSpec(launcher: string, options: StartSandboxOptions): SandboxSpec {
  const { hostname, netnsPath, annotations, cgroupsPath } = options;
  return {
    annotations,
    ...(hostname === '' ? {} : { hostname }),
    process: {
      terminal: false,
      user: { uid, gid: uid },
      args: [program],
      env: [],
      cwd: '/',
      noNewPrivileges: true,
      capabilities: { bounding: [], effective: [], permitted: [], inheritable: [], ambient: [] },
    },
    root: { path: 'rootfs', readonly: true },
    mounts: [
      { destination: '/proc', type: 'proc', source: 'proc', options: ['nosuid', 'noexec', 'nodev'] },
      { destination: '/dev', type: 'tmpfs', source: 'tmpfs', options: ['nosuid', 'mode=755', 'size=65536'] },
      { destination: program, type: 'bind', source: launcher, options: ['bind', 'ro', 'nosuid', 'nodev'] },
    ],
    linux: {
      ...(cgroupsPath === undefined || cgroupsPath === '' ? {} : { cgroupsPath }),
      namespaces: [
        ...['ipc', 'uts', 'pid', 'mount'].map((type) => ({ type })),
        ...(netnsPath === '' ? [] : [{ type: 'network', path: netnsPath }]),
      ],
      resources: { devices: [{ allow: false, access: 'rwm' }] },
    },
  };
}

/** The root that this configuration names: nothing but what things are mounted on. */
export function makePauseRootfs(bundle: string): void {
  const rootfs = join(bundle, 'rootfs');
  for (const name of ['proc', 'dev']) mkdirSync(join(rootfs, name), { recursive: true, mode: 0o755 });
  writeFileSync(join(rootfs, program), '');
}

import { isAbsolute, posix } from 'node:path';
import { Code } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import { checkApparmor } from './apparmor.ts';
import { checkCapabilities } from './capabilities.ts';
import { checkCgroupParent } from './cgroups-path.ts';
import { checkDevices } from './devices.ts';
import { checkEnvironment } from './environment.ts';
import { checkMounts } from './host-mounts.ts';
import { checkContainerNamespaces, checkSandboxNamespaces } from './namespaces.ts';
import { refuse } from './refusal.ts';
import { checkResources } from './resources.ts';
import { checkSandboxFiles } from './sandbox-files.ts';
import { checkSeccomp } from './seccomp.ts';
import { checkSysctls } from './sysctls.ts';
import { checkUser } from './user.ts';

const context = 'config.linux.securityContext';

/** @throws {RpcError} INVALID_ARGUMENT, or UNIMPLEMENTED, with the path of the field */
export function checkSandboxConfig(config: cri.PodSandboxConfig): void {
  const { metadata, linux, logDirectory } = config;
  if (metadata === undefined) refuse('config.metadata', 'is missing');
  if (metadata.name === '') refuse('config.metadata.name', 'is empty');
  if (logDirectory !== '' && !isAbsolute(logDirectory))
    refuse('config.logDirectory', `"${logDirectory}" is not absolute`);
  checkNul(logDirectory, 'config.logDirectory');
  checkSandboxFiles(config);
  checkCgroupParent(config);
  checkSandboxNamespaces(linux?.securityContext?.namespaceOptions);
  checkSysctls(config);
  checkResources(linux?.resources, 'config.linux.resources');
  checkResources(linux?.overhead, 'config.linux.overhead');
}

/**
 * @param sandboxConfig of its pod
 * @throws {RpcError} INVALID_ARGUMENT, or UNIMPLEMENTED, with the path of the field
 */
export function checkContainerConfig(config: cri.ContainerConfig, sandboxConfig: cri.PodSandboxConfig): void {
  const { metadata, linux, workingDir, logPath } = config;
  if (metadata === undefined) refuse('config.metadata', 'is missing');
  if (metadata.name === '') refuse('config.metadata.name', 'is empty');
  for (const [list, words] of [['command', config.command] as const, ['args', config.args] as const]) {
    for (const [index, word] of words.entries()) checkNul(word, `config.${list}[${index}]`);
  }
  if (config.command[0] === '') refuse('config.command[0]', 'is empty');
  if (workingDir !== '' && !isAbsolute(workingDir)) refuse('config.workingDir', `"${workingDir}" is not absolute`);
  checkNul(workingDir, 'config.workingDir');
  checkLogPath(logPath);
  checkEnvironment(config.envs, 'config.envs');
  checkMounts(config.mounts);
  checkDevices(config);
  checkResources(linux?.resources, 'config.linux.resources');
  checkSecurity(linux?.securityContext, sandboxConfig.linux?.securityContext);
}

function checkSecurity(
  security: cri.LinuxContainerSecurityContext | undefined,
  ofPod: cri.LinuxSandboxSecurityContext | undefined,
): void {
  if (security?.privileged === true && ofPod?.privileged !== true) {
    refuse(`${context}.privileged`, 'a privileged container needs a pod whose config is privileged too');
  }
  checkContainerNamespaces(security?.namespaceOptions, ofPod?.namespaceOptions);
  checkUser(security);
  checkCapabilities(security?.capabilities, `${context}.capabilities`);
  checkSeccomp(security);
  checkApparmor(security);
  for (const list of ['maskedPaths', 'readonlyPaths'] as const) {
    for (const [index, path] of (security?.[list] ?? []).entries()) {
      if (!isAbsolute(path)) refuse(`${context}.${list}[${index}]`, `"${path}" is not absolute`);
      checkNul(path, `${context}.${list}[${index}]`);
    }
  }
}

/** It is put below the pod's log directory, and must stay there. */
function checkLogPath(path: string): void {
  if (isAbsolute(path) || posix.normalize(path).split('/').includes('..')) {
    refuse('config.logPath', `"${path}" leads out of the pod's log directory`);
  }
  checkNul(path, 'config.logPath');
}

function checkNul(text: string, field: string): void {
  if (text.includes('\0')) refuse(field, 'contains a NUL character');
}

/**
 * Labels of SELinux are not set: on a host without it they mean nothing, as with the peers, and on one that has it they
 * are refused.
 * @throws {RpcError} UNIMPLEMENTED
 */
export function checkSelinux(
  security: cri.LinuxContainerSecurityContext | undefined,
  host: { selinux: boolean },
): void {
  const { user, role, type, level } = security?.selinuxOptions ?? { user: '', role: '', type: '', level: '' };
  if (!host.selinux || security?.privileged === true || user + role + type + level === '') return;
  refuse(`${context}.selinuxOptions`, 'labels of SELinux are not implemented: leave them out', Code.Unimplemented);
}

import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { Code, RpcError } from '../../grpc/index.ts';
import { isSystemError } from '../../linux/index.ts';
import type { cri } from '../../wire/index.ts';
import type { HostFacts } from './host.ts';
import { refuse } from './refusal.ts';
import { type Seccomp, SeccompProfileError, translateSeccomp } from './seccomp-profile.ts';
import { profileChoice, type ProfileChoice } from './security-profile.ts';

const maxProfileBytes = 4 << 20;
const field = 'config.linux.securityContext.seccomp';

export function checkSeccomp(security: cri.LinuxContainerSecurityContext | undefined): void {
  const choice = choiceOf(security);
  if (choice.kind === 'localhost' && !isAbsolute(choice.name)) {
    refuse(`${field}.localhostRef`, `"${choice.name}" is no absolute path of a profile on this host`);
  }
}

/**
 * The filter of system calls: none for privileged containers and for those that ask for none, as with the peers.
 * @param capabilities the container's own, which profiles look at
 * @throws {RpcError} FAILED_PRECONDITION for a profile that is not there or cannot be used, and on a kernel without
 * seccomp
 */
export function seccomp(
  security: cri.LinuxContainerSecurityContext | undefined,
  capabilities: readonly string[],
  host: Pick<HostFacts, 'seccomp' | 'seccompProfile' | 'architecture' | 'kernel'>,
): Seccomp | undefined {
  const choice = choiceOf(security);
  if (choice.kind === 'unconfined' || security?.privileged === true) return undefined;
  if (!host.seccomp) {
    throw new RpcError(Code.FailedPrecondition, `${field}: this kernel has no seccomp; only Unconfined is possible`);
  }
  const path = choice.kind === 'localhost' ? choice.name : host.seccompProfile;
  try {
    const { architecture, kernel } = host;
    return translateSeccomp(JSON.parse(readProfile(path)), { architecture, kernel, capabilities });
  } catch (error) {
    if (!isSystemError(error) && !(error instanceof SeccompProfileError) && !(error instanceof SyntaxError))
      throw error;
    const what = choice.kind === 'localhost' ? 'the seccomp profile' : 'the default seccomp profile';
    const message = `${field}: ${what} ${path} cannot be used: ${error.message}${adviceFor(error, choice)}`;
    throw new RpcError(Code.FailedPrecondition, message, { cause: error });
  }
}

function choiceOf(security: cri.LinuxContainerSecurityContext | undefined): ProfileChoice {
  return profileChoice(security?.seccomp, security?.seccompProfilePath ?? '', field) ?? { kind: 'unconfined' };
}

function readProfile(path: string): string {
  const fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  try {
    const info = fstatSync(fd);
    if (!info.isFile()) throw new SeccompProfileError('it is not a regular file');
    if (info.size > maxProfileBytes) throw new SeccompProfileError(`it is longer than ${maxProfileBytes} bytes`);
    return readFileSync(fd, 'utf8');
  } finally {
    closeSync(fd);
  }
}

function adviceFor(error: Error, { kind }: ProfileChoice): string {
  if (kind !== 'runtimeDefault' || !isSystemError(error, 'ENOENT')) return '';
  return '; Debian\'s package "golang-github-containers-common" brings it, or name another in security.seccomp_profile';
}

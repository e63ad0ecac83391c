import { readFileSync } from 'node:fs';
import { Code } from '../../grpc/index.ts';
import type { cri } from '../../wire/index.ts';
import type { HostFacts } from './host.ts';
import { refuse } from './refusal.ts';
import { profileChoice } from './security-profile.ts';

const loadedProfiles = '/sys/kernel/security/apparmor/profiles';
const field = 'config.linux.securityContext.apparmor';

export function checkApparmor(security: cri.LinuxContainerSecurityContext | undefined): void {
  profileChoice(security?.apparmor, security?.apparmorProfile ?? '', field);
}

/**
 * `process.apparmorProfile`: a profile of the host that is loaded; undefined for none. Berth has no default profile of
 * its own, so that the default is none.
 * @throws {RpcError} FAILED_PRECONDITION for a profile that is not loaded, or on a host without AppArmor
 */
export function apparmorProfile(
  security: cri.LinuxContainerSecurityContext | undefined,
  host: Pick<HostFacts, 'apparmor'>,
): string | undefined {
  const choice = profileChoice(security?.apparmor, security?.apparmorProfile ?? '', field);
  if (choice?.kind !== 'localhost') return undefined;
  if (!host.apparmor)
    refuse(field, `the profile "${choice.name}" needs AppArmor, which this host lacks`, Code.FailedPrecondition);
  if (!isLoaded(choice.name)) {
    refuse(
      field,
      `the profile "${choice.name}" is not loaded: load it with apparmor_parser(8)`,
      Code.FailedPrecondition,
    );
  }
  return choice.name;
}

function isLoaded(name: string): boolean {
  return readFileSync(loadedProfiles, 'utf8')
    .split('\n')
    .some((line) => line.startsWith(`${name} (`));
}

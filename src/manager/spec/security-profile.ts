import { Code } from '../../grpc/index.ts';
import { cri } from '../../wire/index.ts';
import { refuse } from './refusal.ts';

const { SecurityProfile_ProfileType: ProfileType } = cri;
const localhost = 'localhost/';

/** A seccomp or AppArmor profile, however it was asked for. */
export type ProfileChoice =
  | { readonly kind: 'unconfined' }
  | { readonly kind: 'runtimeDefault' }
  | { readonly kind: 'localhost'; readonly name: string };

/**
 * What is asked for by a field, or by the deprecated one of a path ("runtime/default", "docker/default", "unconfined",
 * "localhost/…").
 * @returns undefined where neither says anything
 */
export function profileChoice(
  profile: cri.SecurityProfile | undefined,
  path: string,
  field: string,
): ProfileChoice | undefined {
  if (profile === undefined) return choiceOfPath(path, field);
  const { profileType, localhostRef } = profile;
  if (profileType === ProfileType.Localhost) return localhostProfile(localhostRef, `${field}.localhostRef`);
  if (localhostRef !== '') refuse(`${field}.localhostRef`, 'is only for profiles of type Localhost');
  if (profileType === ProfileType.Unconfined) return { kind: 'unconfined' };
  const type: number = profileType;
  if (type === ProfileType.RuntimeDefault) return { kind: 'runtimeDefault' };
  return refuse(`${field}.profileType`, `${type} is not known`, Code.Unimplemented);
}

function choiceOfPath(path: string, field: string): ProfileChoice | undefined {
  if (path === '') return undefined;
  if (path === 'unconfined') return { kind: 'unconfined' };
  if (path === 'runtime/default' || path === 'docker/default') return { kind: 'runtimeDefault' };
  if (path.startsWith(localhost)) return localhostProfile(path, `${field} (deprecated path)`);
  return refuse(`${field} (deprecated path)`, `"${path}" is none of runtime/default, unconfined and localhost/NAME`);
}

function localhostProfile(reference: string, field: string): ProfileChoice {
  const name = reference.startsWith(localhost) ? reference.slice(localhost.length) : reference;
  if (name === '' || name.includes('\0')) refuse(field, 'names no profile');
  return { kind: 'localhost', name };
}

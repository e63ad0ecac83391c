import { cri } from '../../wire/index.ts';
import { Code } from '../../grpc/index.ts';
import { maxId, parseId } from './account-files.ts';
import type { Accounts } from './image-accounts.ts';
import type { ResolvedUser } from './input.ts';
import { refuse, refuseControlCharacters } from './refusal.ts';

const securityField = 'config.linux.securityContext';

/** The ids must be ones that a container can have, and a group needs a user beside it. */
export function checkUser(security: cri.LinuxContainerSecurityContext | undefined): void {
  if (security === undefined) return;
  const { runAsUser, runAsGroup, runAsUsername, supplementalGroups, supplementalGroupsPolicy } = security;
  checkId(runAsUser?.value, `${securityField}.runAsUser`);
  checkId(runAsGroup?.value, `${securityField}.runAsGroup`);
  for (const [index, id] of supplementalGroups.entries()) checkId(id, `${securityField}.supplementalGroups[${index}]`);
  if (runAsGroup !== undefined && runAsUser === undefined && runAsUsername === '') {
    refuse(`${securityField}.runAsGroup`, 'is given without runAsUser or runAsUsername');
  }
  refuseControlCharacters(`${securityField}.runAsUsername`, runAsUsername);
  if (runAsUsername.includes(':')) refuse(`${securityField}.runAsUsername`, `"${runAsUsername}" is no user's name`);
  const policies: number[] = Object.values(cri.SupplementalGroupsPolicy);
  if (!policies.includes(supplementalGroupsPolicy)) {
    refuse(`${securityField}.supplementalGroupsPolicy`, `${supplementalGroupsPolicy} is not known`, Code.Unimplemented);
  }
}

function checkId(id: bigint | undefined, field: string): void {
  if (id !== undefined && (id < 0n || id > BigInt(maxId))) refuse(field, `${id} is not between 0 and ${maxId}`);
}

/**
 * Whom the container runs as: runAsUsername, else runAsUser, else the image's user, else root. A user that is not given
 * with a group has the group that the image's passwd file says, or 0 where it does not know the user's number. The
 * user's groups in the image are added, unless the policy is Strict, and then those that the request names.
 * @param accounts of the image; only called when they matter, so that an image whose files cannot be read can be run
 * with numbers
 * @throws {RpcError} INVALID_ARGUMENT for a user or group that the image does not know, or whose number is out of range
 */
export function resolveUser(
  security: cri.LinuxContainerSecurityContext | undefined,
  imageUser: string,
  accounts: () => Accounts,
): ResolvedUser {
  const { field, user, group } = whoIsAsked(security, imageUser);
  const named = numberOf(user, field);
  const known = (): Accounts['users'][number] | undefined => {
    const { users } = accounts();
    return users.find(({ name, uid }) => (named === undefined ? name === user : uid === named));
  };
  const uid = named ?? known()?.uid;
  if (uid === undefined) refuse(field, `the image's /etc/passwd has no usable user ${JSON.stringify(user)}`);
  const gid = group === '' ? (known()?.gid ?? 0) : groupId(group, field, accounts);
  const merges = security?.supplementalGroupsPolicy !== cri.SupplementalGroupsPolicy.Strict;
  const name = merges ? (named === undefined ? user : known()?.name) : undefined;
  const gids = new Set([
    gid,
    ...(name === undefined ? [] : memberships(name, accounts())),
    ...(security?.supplementalGroups ?? []).map(Number),
  ]);
  return { uid, gid, additionalGids: [...gids].sort((a, b) => a - b) };
}

function whoIsAsked(
  security: cri.LinuxContainerSecurityContext | undefined,
  imageUser: string,
): { field: string; user: string; group: string } {
  const { runAsUser, runAsGroup, runAsUsername = '' } = security ?? {};
  const group = runAsGroup === undefined ? '' : String(runAsGroup.value);
  if (runAsUsername !== '') return { field: `${securityField}.runAsUsername`, user: runAsUsername, group };
  if (runAsUser !== undefined) return { field: `${securityField}.runAsUser`, user: String(runAsUser.value), group };
  const field = "the image's user";
  refuseControlCharacters(field, imageUser);
  const [user = '', imageGroup = '', more] = imageUser.split(':');
  if (more !== undefined) refuse(field, `${JSON.stringify(imageUser)} is neither "user" nor "user:group"`);
  return user === '' ? { field, user: '0', group: imageGroup || '0' } : { field, user, group: imageGroup };
}

/** The number that the text is; undefined for a name. */
function numberOf(text: string, field: string): number | undefined {
  if (!/^[+-]?[0-9]+$/.test(text)) return undefined;
  const id = parseId(text.replace(/^\+?0*(?=[0-9])/, ''));
  if (id === undefined) refuse(field, `${text} is not between 0 and ${maxId}`);
  return id;
}

function groupId(group: string, field: string, accounts: () => Accounts): number {
  const number = numberOf(group, field);
  if (number !== undefined) return number;
  const found = accounts().groups.find(({ name }) => name === group);
  if (found === undefined) refuse(field, `the image's /etc/group has no usable group ${JSON.stringify(group)}`);
  return found.gid;
}

/** The groups that list the user, without the user's own group of the same name. */
function memberships(user: string, { groups }: Accounts): number[] {
  return groups.filter(({ name, members }) => name !== user && members.includes(user)).map(({ gid }) => gid);
}

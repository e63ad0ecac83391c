/** Ids that a container can have: runc takes no greater ones. */
export const maxId = 2 ** 31 - 1;

/** A line of passwd(5). */
export interface User {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** A line of group(5). */
export interface Group {
  readonly name: string;
  readonly gid: number;
  readonly members: readonly string[];
}

/**
 * The users of a passwd file. Lines that are none, or have ids that no container can have, are passed over: an image
 * wrote them.
 */
export function parsePasswd(text: string): User[] {
  return records(text).flatMap(([name, , uid, gid]) => {
    const user = { name: name ?? '', uid: parseId(uid), gid: parseId(gid) };
    return user.name !== '' && user.uid !== undefined && user.gid !== undefined
      ? [{ name: user.name, uid: user.uid, gid: user.gid }]
      : [];
  });
}

/** The groups of a group file, likewise. */
export function parseGroup(text: string): Group[] {
  return records(text).flatMap(([name, , id, members]) => {
    const gid = parseId(id);
    if (name === undefined || name === '' || gid === undefined) return [];
    return [{ name, gid, members: (members ?? '').split(',').filter((member) => member !== '') }];
  });
}

/** A decimal id; undefined for anything else, also for one that is out of range. */
export function parseId(text: string | undefined): number | undefined {
  if (text === undefined || !/^[0-9]{1,10}$/.test(text)) return undefined;
  const id = Number(text);
  return id <= maxId ? id : undefined;
}

function records(text: string): string[][] {
  return text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => line.split(':'));
}

/**
 * What a run has left behind. Everything of a run carries its tag (in its folder's path, hence in environments, arguments and
 * mounts, and in its containers' ids, hence in cgroups), and runs in the run's own mount and network namespaces: so what others
 * do on the machine meanwhile is never taken for ours.
 */
import { readdirSync, readFileSync, readlinkSync, rmdirSync, rmSync, statfsSync } from 'node:fs';
import { basename, join } from 'node:path';

const cgroupRoot = '/sys/fs/cgroup';
const cgroupDepth = 6;
/** Magic numbers of cgroup v1 and cgroup2, as statfs gives them. */
const cgroupFileSystems = [0x27e0eb, 0x63677270];
const namespaceFolders = '/run/containerd/runc';
const runtimeStateRoots = [namespaceFolders, '/run/runc', '/run/crun', '/run/containerd/s'];

const read = (path) => {
  try {
    return readFileSync(path, 'latin1');
  } catch {
    return '';
  }
};
const link = (path) => {
  try {
    return readlinkSync(path);
  } catch {
    return '';
  }
};
const list = (path) => {
  try {
    return readdirSync(path, { withFileTypes: true });
  } catch {
    return [];
  }
};

function parentOf(pid) {
  return Number(
    read(`/proc/${pid}/stat`)
      .replace(/^.*\) \S /s, '')
      .split(' ')[0],
  );
}

/** Processes of the run, this one and its ancestors not counted: `{ pid, what }`. */
function processes(tag) {
  const mine = new Set();
  for (let pid = process.pid; pid > 1; pid = parentOf(pid)) mine.add(pid);
  const namespaces = ['mnt', 'net'].map((kind) => link(`/proc/self/ns/${kind}`));
  const found = [];
  for (const { name } of list('/proc')) {
    const pid = Number(name);
    if (!pid || mine.has(pid)) continue;
    const inOurNamespaces = ['mnt', 'net'].some((kind, at) => link(`/proc/${pid}/ns/${kind}`) === namespaces[at]);
    const carriesTag = ['cmdline', 'environ', 'cgroup'].some((file) => read(`/proc/${pid}/${file}`).includes(tag));
    if (!inOurNamespaces && !carriesTag) continue;
    const command =
      read(`/proc/${pid}/cmdline`).split('\0').join(' ').trim() || `[${read(`/proc/${pid}/comm`).trim()}]`;
    found.push({ pid, what: `process ${pid}: ${command}` });
  }
  return found;
}

function tagged(folder, tag, depth) {
  return list(folder).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.name.includes(tag)) return [path];
    return entry.isDirectory() && depth > 1 ? tagged(path, tag, depth - 1) : [];
  });
}

/** cgroups only: crun makes folders of the same names where a cgroup2 mount could be. */
const isCgroup = (path) => cgroupFileSystems.includes(statfsSync(path).type);

/** One line a cgroup, however many hierarchies it is in. */
function cgroupsByName(tag) {
  const hierarchies = Map.groupBy(tagged(cgroupRoot, tag, cgroupDepth).filter(isCgroup), (path) => basename(path));
  return [...hierarchies].map(([name, paths]) => {
    const where = paths.map((path) => path.slice(cgroupRoot.length + 1, -name.length - 1) || '.');
    return `cgroup ${name} in ${where.join(', ')}`;
  });
}

/** The mount points of this namespace, for `leftovers`' second argument. */
export function mountPoints() {
  return read('/proc/self/mountinfo')
    .split('\n')
    .filter(Boolean)
    .map((line) => line.split(' ')[4]);
}

/**
 * @param {string} tag
 * @param {string[]} mountsBefore what `mountPoints` gave before the run
 * @param {string} folder the run's own folder; must be empty but for the names in `keep`
 * @param {string[]} keep
 * @returns {string[]} one line for each thing that is still there
 */
export function leftovers(tag, mountsBefore, folder, keep) {
  const before = new Set(mountsBefore);
  return [
    ...processes(tag).map((one) => one.what),
    ...mountPoints()
      .filter((path) => !before.has(path))
      .map((path) => `mount ${path}`),
    ...cgroupsByName(tag),
    ...runtimeStateRoots.flatMap((root) => tagged(root, tag, 2)).map((path) => `runtime state ${path}`),
    ...list(folder)
      .filter((entry) => !keep.includes(entry.name))
      .map((entry) => `file ${join(folder, entry.name)}`),
  ];
}

/** Waits for `leftovers` to become none: a process that was told to go needs a moment. Returns what stayed. */
export async function settle(look, seconds) {
  const deadline = Date.now() + seconds * 1000;
  for (;;) {
    const left = look();
    if (left.length === 0 || Date.now() > deadline) return left;
    await new Promise((next) => setTimeout(next, 100));
  }
}

/** Removes what a failed run left (its mounts go with its namespace): ends its processes, removes its cgroups and states. */
export async function clear(tag) {
  for (let round = 0; round < 20; round++) {
    const running = processes(tag);
    if (running.length === 0) break;
    for (const { pid } of running) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch {
        // it went by itself
      }
    }
    await new Promise((next) => setTimeout(next, 100));
  }
  for (const path of tagged(cgroupRoot, tag, cgroupDepth)) {
    try {
      rmdirSync(path);
    } catch {
      // not empty: reported already
    }
  }
  for (const path of runtimeStateRoots.flatMap((root) => tagged(root, tag, 2)))
    rmSync(path, { recursive: true, force: true });
}

/** Folders of containerd namespaces, for `removeNamespaceFolders`. */
export const listNamespaceFolders = () => list(namespaceFolders).map((entry) => entry.name);

/** The suite invents a namespace for each test, and a shim keeps a namespace's (then empty) folder: removes the new ones. */
export function removeNamespaceFolders(before) {
  for (const name of listNamespaceFolders().filter((one) => one.startsWith('shimtest-') && !before.includes(one))) {
    try {
      rmdirSync(join(namespaceFolders, name));
    } catch {
      // not empty: what is in it is reported
    }
  }
}

import { type Dirent, globSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';

/** Folders of berthd's state that hold something for as long as a pod or a container is there. */
const foldersOfPods = ['run/netns', 'run/sandboxes', 'run/containers', 'run/s', 'root/containers'];
/** What is deeper: an OCI runtime's root has a folder for each namespace, the network's cache one for its kinds of files. */
const foldersOfFolders = ['run/runtimes/*', 'root/cni'];

function entries(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}

/**
 * What pods have left in the folder of a berthd that has ended, a line for each thing: in its state (run/), and what containers have of
 * its content (root/). Images, its database and locks stay; empty folders of OCI runtimes and of the network's cache are no trace of a pod.
 */
export function leftInFolder(folder: string): string[] {
  const below = (path: string): string[] => entries(path).map(({ name }) => join(path, name));
  const isFolder = (path: string) => statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  const deep = globSync(foldersOfFolders.map((path) => join(folder, path)))
    .flatMap(below)
    .flatMap((path) => (isFolder(path) ? below(path) : [path]));
  const found = [...foldersOfPods.flatMap((path) => below(join(folder, path))), ...deep];
  const sockets = entries(join(folder, 'run')).filter((entry) => entry.isSocket());
  return [...found.map((path) => `state ${path}`), ...sockets.map(({ name }) => `socket ${join(folder, 'run', name)}`)];
}

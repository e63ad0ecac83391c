import type { Verb } from '../verb.ts';

/** One row of the table of verbs: enough for the list in the help, and where the verb is. */
export interface VerbEntry {
  readonly name: string;
  readonly aliases?: readonly string[];
  readonly group: 'Containers' | 'Pods' | 'Images' | 'The server' | 'berthctl';
  readonly summary: string;
  /** Loads the verb's file; so that each start pays for one verb only. */
  readonly load: () => Promise<{ verb: Verb }>;
}

export const verbs: readonly VerbEntry[] = [
  {
    name: 'run',
    group: 'Containers',
    summary: 'run a command in a new container of an image, or a container from two files',
    load: () => import('./run.ts'),
  },
  { name: 'ps', group: 'Containers', summary: 'list containers', load: () => import('./ps.ts') },
  { name: 'create', group: 'Containers', summary: 'create a container in a pod', load: () => import('./create.ts') },
  { name: 'start', group: 'Containers', summary: 'start created containers', load: () => import('./start.ts') },
  { name: 'stop', group: 'Containers', summary: 'stop running containers', load: () => import('./stop.ts') },
  { name: 'rm', group: 'Containers', summary: 'remove containers', load: () => import('./rm.ts') },
  { name: 'inspect', group: 'Containers', summary: 'show all about containers', load: () => import('./inspect.ts') },
  { name: 'logs', group: 'Containers', summary: "show a container's log", load: () => import('./logs.ts') },
  { name: 'exec', group: 'Containers', summary: 'run a command in a container', load: () => import('./exec.ts') },
  { name: 'stats', group: 'Containers', summary: 'show what containers use', load: () => import('./stats.ts') },
  { name: 'update', group: 'Containers', summary: "change containers' limits", load: () => import('./update.ts') },
  { name: 'attach', group: 'Containers', summary: 'not in this version', load: () => import('./attach.ts') },

  { name: 'runp', group: 'Pods', summary: 'run a new pod', load: () => import('./runp.ts') },
  { name: 'pods', group: 'Pods', summary: 'list pods', load: () => import('./pods.ts') },
  { name: 'stopp', group: 'Pods', summary: 'stop pods and their containers', load: () => import('./stopp.ts') },
  { name: 'rmp', group: 'Pods', summary: 'remove pods and their containers', load: () => import('./rmp.ts') },
  { name: 'inspectp', group: 'Pods', summary: 'show all about pods', load: () => import('./inspectp.ts') },
  { name: 'statsp', group: 'Pods', summary: 'show what pods use', load: () => import('./statsp.ts') },
  { name: 'port-forward', group: 'Pods', summary: 'not in this version', load: () => import('./port-forward.ts') },

  { name: 'pull', group: 'Images', summary: 'fetch an image from a registry', load: () => import('./pull.ts') },
  {
    name: 'images',
    aliases: ['image', 'img'],
    group: 'Images',
    summary: 'list images',
    load: () => import('./images.ts'),
  },
  { name: 'inspecti', group: 'Images', summary: 'show all about images', load: () => import('./inspecti.ts') },
  { name: 'rmi', group: 'Images', summary: 'remove images', load: () => import('./rmi.ts') },
  {
    name: 'imagefsinfo',
    group: 'Images',
    summary: 'show the space images take',
    load: () => import('./imagefsinfo.ts'),
  },
  { name: 'load', group: 'Images', summary: 'take images from an archive', load: () => import('./load.ts') },
  { name: 'save', group: 'Images', summary: 'write an image to an archive', load: () => import('./save.ts') },

  {
    name: 'doctor',
    group: 'The server',
    summary: 'find what is wrong with this machine',
    load: () => import('./doctor.ts'),
  },
  { name: 'info', group: 'The server', summary: "show the server's state", load: () => import('./info.ts') },
  { name: 'version', group: 'The server', summary: "show the server's version", load: () => import('./version.ts') },
  {
    name: 'events',
    aliases: ['event'],
    group: 'The server',
    summary: 'watch what happens to containers',
    load: () => import('./events.ts'),
  },
  {
    name: 'runtime-config',
    group: 'The server',
    summary: "show the runtime's cgroup driver",
    load: () => import('./runtime-config.ts'),
  },
  {
    name: 'update-runtime-config',
    group: 'The server',
    summary: "set the pods' address range",
    load: () => import('./update-runtime-config.ts'),
  },
  {
    name: 'log-level',
    group: 'The server',
    summary: "show or set berthd's log level",
    load: () => import('./log-level.ts'),
  },

  {
    name: 'config',
    group: 'berthctl',
    summary: 'show or set the defaults of berthctl',
    load: () => import('./config.ts'),
  },
  {
    name: 'completion',
    group: 'berthctl',
    summary: 'print a script for your shell',
    load: () => import('./completion.ts'),
  },
];

export function findVerb(name: string): VerbEntry | undefined {
  return verbs.find((one) => one.name === name || one.aliases?.includes(name));
}

import type { cri } from '../../wire/index.ts';
import { capabilityNames } from './capability-names.ts';
import { refuse } from './refusal.ts';

/** `process.capabilities` of config.json. */
export interface ProcessCapabilities {
  readonly bounding: readonly string[];
  readonly effective: readonly string[];
  readonly permitted: readonly string[];
  readonly inheritable: readonly string[];
  readonly ambient: readonly string[];
}

/** What a container has that asks for nothing: as with containerd and Docker. */
const usual = [
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FSETID',
  'CAP_FOWNER',
  'CAP_MKNOD',
  'CAP_NET_RAW',
  'CAP_SETGID',
  'CAP_SETUID',
  'CAP_SETFCAP',
  'CAP_SETPCAP',
  'CAP_NET_BIND_SERVICE',
  'CAP_SYS_CHROOT',
  'CAP_KILL',
  'CAP_AUDIT_WRITE',
];

const lists = ['addCapabilities', 'dropCapabilities', 'addAmbientCapabilities'] as const;

/** Every name must be one that is known, or "ALL". */
export function checkCapabilities(capabilities: cri.Capability | undefined, field: string): void {
  for (const list of lists) {
    for (const name of capabilities?.[list] ?? []) {
      if (!isAll(name) && !capabilityNames.includes(fullName(name))) {
        refuse(`${field}.${list}`, `"${name}" is no capability: see capabilities(7)`);
      }
    }
  }
}

/**
 * The capabilities of a container. "ALL" comes first, then single names, and dropping comes last; a privileged
 * container has all. Those that this process may not give are left out. What is added as ambient is inheritable too, as
 * the kernel demands; nothing else is (CVE-2022-27652).
 */
export function processCapabilities(
  security: cri.LinuxContainerSecurityContext | undefined,
  givable: readonly string[],
): { capabilities: ProcessCapabilities; missing: string[] } {
  const { addCapabilities = [], dropCapabilities = [], addAmbientCapabilities = [] } = security?.capabilities ?? {};
  const dropped = new Set(dropCapabilities.map(fullName));
  const wanted = security?.privileged === true ? new Set(capabilityNames) : chosen(addCapabilities, dropCapabilities);
  const raised = addAmbientCapabilities.some(isAll) ? [...wanted] : addAmbientCapabilities.map(fullName);
  const ambient = raised.filter((name) => !dropped.has(name) && givable.includes(name));
  const given = capabilityNames.filter(
    (name) => givable.includes(name) && (wanted.has(name) || ambient.includes(name)),
  );
  const named = [...addCapabilities, ...addAmbientCapabilities].filter((name) => !isAll(name)).map(fullName);
  return {
    capabilities: { bounding: given, effective: given, permitted: given, inheritable: ambient, ambient },
    missing: [...new Set(named)].filter((name) => !dropped.has(name) && !givable.includes(name)),
  };
}

function chosen(add: readonly string[], drop: readonly string[]): Set<string> {
  let start = usual;
  if (add.some(isAll)) start = [...capabilityNames];
  if (drop.some(isAll)) start = [];
  const names = new Set(start);
  for (const name of add) names.add(fullName(name));
  for (const name of drop) names.delete(fullName(name));
  return names;
}

function isAll(name: string): boolean {
  return name.toUpperCase() === 'ALL';
}

function fullName(name: string): string {
  const upper = name.toUpperCase();
  return upper.startsWith('CAP_') ? upper : `CAP_${upper}`;
}

import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';

/** Where Debian's containernetworking-plugins has its programs. */
export const cniPlugins = '/usr/lib/cni';

const networkName = 'test';

export interface BridgeNetwork {
  /** Folder for the conflist. */
  confDir: string;
  /** Folder where addresses that are taken are noted; see `takenAddresses`. */
  leases: string;
  /** The bridge, at most 15 characters. */
  bridge: string;
  /** Default 10.88.0.0/16. */
  subnet?: string;
}

/** Writes a conflist for pods on a bridge, with host ports and bandwidth limits. */
export function writeBridgeNetwork({ confDir, leases, bridge, subnet = '10.88.0.0/16' }: BridgeNetwork): void {
  mkdirSync(confDir, { recursive: true });
  const ipam = { type: 'host-local', dataDir: leases, ranges: [[{ subnet }]], routes: [{ dst: '0.0.0.0/0' }] };
  const plugins = [
    { type: 'bridge', bridge, isGateway: true, hairpinMode: true, ipam },
    { type: 'portmap', capabilities: { portMappings: true } },
    { type: 'bandwidth', capabilities: { bandwidth: true } },
  ];
  const conflist = { cniVersion: '1.0.0', name: networkName, plugins };
  writeFileSync(join(confDir, '10-test.conflist'), JSON.stringify(conflist, null, 2));
}

/** The addresses that host-local has given to pods and not taken back. */
export function takenAddresses(leases: string): string[] {
  try {
    return readdirSync(join(leases, networkName)).filter((name) => /^[0-9a-f]+[.:]/.test(name));
  } catch {
    return []; // none has ever been given
  }
}

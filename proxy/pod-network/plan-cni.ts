// The configuration of the network plugins of a node, from its pod ranges. Pure.
import type { IpFamily } from '../model/service-port.ts';
import { familyOf } from './network-node.ts';

/** Sorts behind what other networks install, so that the runtime takes theirs when they come. */
export const cniFileName = '99-berth.conflist';
const networkName = 'berth';

export interface CniPlanOptions {
  podCIDRs: readonly string[];
  bridge: string;
  ipamDir: string;
  mtu: number;
}

const anywhere: Record<IpFamily, string> = { IPv4: '0.0.0.0/0', IPv6: '::/0' };

/** The file's text. */
export function planCniConfig({ podCIDRs, bridge, ipamDir, mtu }: CniPlanOptions): string {
  const config = {
    cniVersion: '1.0.0',
    name: networkName,
    plugins: [
      {
        type: 'bridge',
        bridge,
        isGateway: true,
        ipMasq: false,
        hairpinMode: true,
        mtu,
        ipam: {
          type: 'host-local',
          dataDir: ipamDir,
          ranges: podCIDRs.map((subnet) => [{ subnet }]),
          routes: podCIDRs.map((subnet) => ({ dst: anywhere[familyOf(subnet)] })),
        },
      },
      { type: 'portmap', capabilities: { portMappings: true }, snat: true },
    ],
  };
  return `${JSON.stringify(config, null, 2)}\n`;
}

interface AnyCniConfig {
  name?: unknown;
  type?: unknown;
  plugins?: { type?: unknown }[];
}

/** Whether a file's text is ours, somebody else's network, or nothing that connects pods. */
export function judgeCniFile(name: string, text: string): 'ours' | 'foreign' | 'none' {
  if (!/\.(conf|conflist|json)$/.test(name)) return 'none';
  let config: AnyCniConfig;
  try {
    config = JSON.parse(text) as AnyCniConfig;
  } catch {
    // Half written, or for a program that reads it differently: not ours in any case.
    return 'foreign';
  }
  if (name === cniFileName && config.name === networkName) return 'ours';
  const types = Array.isArray(config.plugins) ? config.plugins.map(({ type }) => type) : [config.type];
  return types.every((type) => type === 'loopback') ? 'none' : 'foreign';
}

/** The bridge that a file of ours names. */
export function bridgeOf(text: string): string | undefined {
  const { plugins } = JSON.parse(text) as { plugins?: { type?: unknown; bridge?: unknown }[] };
  const bridge = plugins?.find(({ type }) => type === 'bridge')?.bridge;
  return typeof bridge === 'string' ? bridge : undefined;
}

// The interfaces of this machine as ip(8) tells them.
import { type Exec, execOrThrow } from '#kube/process/exec.ts';

/** An interface with the addresses that other machines may reach it by. */
export interface MachineLink {
  name: string;
  mtu: number;
  addresses: { address: string; prefixLength: number }[];
  /** The bridge it hangs on. */
  master: string | undefined;
}

interface LinkEntry {
  ifname: string;
  mtu: number;
  master?: string;
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
}

/** Decodes `ip -j address show`. */
export function parseLinks(text: string): MachineLink[] {
  return (JSON.parse(text || '[]') as LinkEntry[]).map(({ ifname, mtu, master, addr_info = [] }) => ({
    name: ifname,
    mtu,
    master,
    addresses: addr_info
      .filter(({ scope, local }) => scope === 'global' && local !== undefined)
      .map(({ local, prefixlen }) => ({ address: local, prefixLength: prefixlen })),
  }));
}

export async function readLinks(exec: Exec): Promise<MachineLink[]> {
  return parseLinks(await execOrThrow(exec, 'ip', ['-j', 'address', 'show']));
}

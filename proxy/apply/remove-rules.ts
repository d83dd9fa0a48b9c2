// Removes the rules of every mode from a node that has no proxy any more.
import type { Exec } from '#kube/process/exec.ts';
import { createIptables } from './iptables.ts';
import { cleanupIptables } from './iptables-cleanup.ts';
import { createIpvs } from './ipvs.ts';
import { cleanupIpvs } from './ipvs-applier.ts';
import { cleanupNftables, createNft } from './nft.ts';

/** Safe to run where there are none, and where a program is missing. */
export async function removeProxyRules(exec: Exec): Promise<void> {
  for (const family of ['IPv4', 'IPv6'] as const) {
    const iptables = createIptables(exec, family);
    // A machine without the program has no rules of this kind.
    if (await iptables.isSupported().catch(() => false)) {
      const base = { family, masqueradeBit: 14, masqueradeAll: false, randomFully: true, localTraffic: undefined };
      await cleanupIpvs(createIpvs(exec, family), iptables, base, []);
      await cleanupIptables(iptables);
    }
    const { exitCode } = await exec('nft', ['--version']).catch(() => ({ exitCode: 1 }));
    if (exitCode === 0) await cleanupNftables(createNft(exec, family), family);
  }
}

// Rules that let pods through this machine and masquerade them on their way out of the cluster. In iptables, where the
// port mapping plugin has its rules too, and where a firewall that forwards nothing by itself must be answered.
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import type { IpFamily } from '../model/service-port.ts';
import { familyOf } from './network-node.ts';

const masqueradeChain = 'BERTH-POSTROUTING';
const forwardChain = 'BERTH-FORWARD';

interface OwnChain {
  table: 'nat' | 'filter';
  /** The kernel's chain that jumps to it. */
  from: string;
  chain: string;
  rules: string[];
}

const programs: Record<IpFamily, string> = { IPv4: 'iptables', IPv6: 'ip6tables' };
const groups: Record<IpFamily, string> = { IPv4: '224.0.0.0/4', IPv6: 'ff00::/8' };

/** The chains of one family as `iptables -S` prints their rules. `cidrs` are the ranges of all pods. */
export function planPodRules(family: IpFamily, cidrs: readonly string[]): OwnChain[] {
  const ranges = cidrs.filter((cidr) => familyOf(cidr) === family);
  const inside = ranges.map((cidr) => `-A ${masqueradeChain} -d ${cidr} -m comment --comment "to a pod" -j RETURN`);
  const leaving = ranges.map(
    (cidr) =>
      `-A ${masqueradeChain} -s ${cidr} ! -d ${groups[family]} -m comment --comment "pods leaving the cluster" -j MASQUERADE --random-fully`,
  );
  const forwarded = ranges.flatMap((cidr) => [
    `-A ${forwardChain} -s ${cidr} -m comment --comment "from pods" -j ACCEPT`,
    `-A ${forwardChain} -d ${cidr} -m comment --comment "to pods" -j ACCEPT`,
  ]);
  return [
    { table: 'nat', from: 'POSTROUTING', chain: masqueradeChain, rules: [...inside, ...leaving] },
    { table: 'filter', from: 'FORWARD', chain: forwardChain, rules: forwarded },
  ];
}

/** True when the kernel can masquerade this family. */
export async function hasNat(exec: Exec, family: IpFamily): Promise<boolean> {
  const result = await exec(programs[family], ['-w', '5', '-t', 'nat', '-S', 'POSTROUTING']);
  return result.exitCode === 0;
}

/** Makes the chains what the plan says; one that is right is not touched, so that nothing is flushed under traffic. */
export async function applyPodRules(exec: Exec, family: IpFamily, cidrs: readonly string[]): Promise<void> {
  const program = programs[family];
  for (const { table, from, chain, rules } of planPodRules(family, cidrs)) {
    const there = await exec(program, ['-w', '5', '-t', table, '-S', chain]);
    const actual = there.stdout.split('\n').filter((line) => line.startsWith('-A '));
    if (there.exitCode !== 0 || actual.join('\n') !== rules.join('\n')) {
      const input = [`*${table}`, `:${chain} - [0:0]`, ...rules, 'COMMIT', ''].join('\n');
      await execOrThrow(exec, `${program}-restore`, ['-w', '5', '--noflush'], { input });
    }
    const jump = ['-m', 'comment', '--comment', 'berth pod network', '-j', chain];
    const jumps = await exec(program, ['-w', '5', '-t', table, '-C', from, ...jump]);
    if (jumps.exitCode !== 0) await execOrThrow(exec, program, ['-w', '5', '-t', table, '-A', from, ...jump]);
  }
}

/** Removes the chains and the jumps to them; safe where there are none. */
export async function removePodRules(exec: Exec, family: IpFamily): Promise<void> {
  const program = programs[family];
  for (const { table, from, chain } of planPodRules(family, [])) {
    // A machine without the program has no such rules.
    const there = await exec(program, ['-w', '5', '-t', table, '-S', chain]).catch(() => ({ exitCode: 1 }));
    if (there.exitCode !== 0) continue;
    const jump = ['-m', 'comment', '--comment', 'berth pod network', '-j', chain];
    await exec(program, ['-w', '5', '-t', table, '-D', from, ...jump]);
    for (const action of ['-F', '-X']) await exec(program, ['-w', '5', '-t', table, action, chain]);
  }
}

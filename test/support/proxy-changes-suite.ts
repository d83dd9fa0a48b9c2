// Random changes in every mode: at the end the kernel has what a computation from scratch gives, other people's rules are
// as they were, and nothing is left when the proxy is cleaned up.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { execOrThrow } from '#kube/process/exec.ts';
import type { ServiceState } from '../../proxy/apply/rule-applier.ts';
import type { ModeName } from '../../proxy/config/proxy-config.ts';
import { createPacketNode, families, type PacketNode, podNames } from './packet-node.ts';
import { type PodState, type PodStates, packetState } from './packet-services.ts';

export interface ChangesOptions {
  /** Random changes before the comparison. */
  changes: number;
  /** How many of them are applied at once. */
  perSync: number;
}

const here: PodState = { on: 'here' };

/** Everything that rules are made of, without counters and the order among what is in no order. */
async function readKernel({ exec }: PacketNode, mode: ModeName): Promise<string[]> {
  const programs: [string, string[]][] = [
    ['iptables-save', []],
    ['ip6tables-save', []],
    ...(mode === 'nftables' ? ([['nft', ['list', 'ruleset']]] as [string, string[]][]) : []),
    ...(mode === 'ipvs'
      ? ([
          ['ipvsadm', ['-S', '-n']],
          ['ipset', ['save']],
          ['ip', ['-o', 'address', 'show']],
        ] as [string, string[]][])
      : []),
  ];
  const texts: string[] = [];
  for (const [program, args] of programs) texts.push(await execOrThrow(exec, program, args));
  return texts
    .flatMap((text) => text.split('\n'))
    .filter((line) => !line.startsWith('#') && !line.includes(' fe80::') && line.trim() !== '')
    .map((line) =>
      line
        .replace(/\[\d+:\d+\]/, '')
        .replace(/ initval \S+/, '')
        .replace(/elements = \{(.*)\}/, (_, inner: string) => inner.split(', ').sort().join())
        .replace(/\d+: kube-ipvs0 .*(inet6? \S+).*/, '$1'),
    )
    .sort();
}

async function addForeignRules({ exec }: PacketNode, mode: ModeName): Promise<void> {
  await execOrThrow(exec, 'iptables', ['-t', 'nat', '-N', 'FOREIGN']);
  await execOrThrow(exec, 'iptables', ['-t', 'nat', '-A', 'PREROUTING', '-d', '203.0.113.99', '-j', 'FOREIGN']);
  await execOrThrow(exec, 'iptables', ['-A', 'FORWARD', '-d', '203.0.113.98', '-j', 'DROP']);
  await execOrThrow(exec, 'ip6tables', ['-A', 'INPUT', '-s', '2001:db8::9', '-j', 'DROP']);
  if (mode === 'nftables') {
    const input = 'table ip foreign { chain a { ip daddr 203.0.113.97 drop; }; }';
    await execOrThrow(exec, 'nft', ['-f', '-'], { input });
  }
  if (mode === 'ipvs') {
    await execOrThrow(exec, 'ipset', ['create', 'FOREIGN', 'hash:ip']);
    await execOrThrow(exec, 'ipset', ['add', 'FOREIGN', '203.0.113.96']);
    await execOrThrow(exec, 'ipvsadm', ['-A', '-t', '192.0.2.1:25', '-s', 'rr']);
    await execOrThrow(exec, 'ipvsadm', ['-a', '-t', '192.0.2.1:25', '-r', '203.0.113.25:25', '-m']);
  }
}

/** Pseudo-random numbers, the same in each run. */
function createRandom(): (below: number) => number {
  let seed = 7;
  return (below) => {
    seed = (seed * 48271) % 2147483647;
    return seed % below;
  };
}

/** Defines the test for one mode. */
export function defineChangesTests(mode: ModeName, { changes, perSync }: ChangesOptions): void {
  it(`mode ${mode} reaches by random changes what it computes at once, leaves foreign rules alone, and then nothing`, {
    timeout: 400_000,
  }, async () => {
    await using node = await createPacketNode(mode, { isSilent: true });
    await addForeignRules(node, mode);
    const before = await readKernel(node, mode);
    const random = createRandom();
    const specs = [
      {},
      { externalTrafficPolicy: 'Local' },
      { internalTrafficPolicy: 'Local' },
      { sessionAffinity: 'ClientIP' },
    ];
    const randomPods = (): PodStates => {
      const states: (PodState | undefined)[] = [
        undefined,
        here,
        { on: 'elsewhere' },
        { ...here, terminating: true, serving: true },
      ];
      const chosen = podNames.map((pod) => [pod, states[random(states.length)]] as const);
      return Object.fromEntries(chosen.filter(([, state]) => state !== undefined));
    };
    const services = { IPv4: new Map<string, ServiceState>(), IPv6: new Map<string, ServiceState>() };
    for (let i = 0; i < changes; i += perSync) {
      const family = families[(i / perSync) % 2] ?? 'IPv4';
      for (let j = 0; j < perSync; j += 1) {
        const [key, state] = packetState(family, specs[random(specs.length)] ?? {}, randomPods(), 1 + random(20));
        if (random(4) === 0) services[family].delete(key);
        else services[family].set(key, state);
      }
      await node.apply(family, services[family]);
    }
    for (const family of families) await node.applier(family).tidy?.();
    // Emptied chains of nftables stay for a second.
    await new Promise((resolve) => setTimeout(resolve, 1100));
    for (const family of families) assert.equal(await node.applier(family).isIntact(), true);
    const grown = await readKernel(node, mode);
    await using fresh = await createPacketNode(mode, { isSilent: true });
    await addForeignRules(fresh, mode);
    for (const family of families) await fresh.apply(family, services[family]);
    assert.deepEqual(grown, await readKernel(fresh, mode));
    await node.cleanup(mode);
    await node.cleanup(mode);
    const after = (await readKernel(node, mode)).filter(
      (line) => !/^:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) |^\*|^COMMIT/.test(line),
    );
    assert.deepEqual(
      after,
      before.filter((line) => !/^:(PREROUTING|INPUT|FORWARD|OUTPUT|POSTROUTING) |^\*|^COMMIT/.test(line)),
    );
  });
}

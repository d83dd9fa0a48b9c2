import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Iptables, parseSavedTable } from '../../../proxy/apply/iptables.ts';
import { cleanupIptables, computeKeptChains } from '../../../proxy/apply/iptables-cleanup.ts';
import type { Table } from '../../../proxy/plan/iptables/rules.ts';
import { planBase } from '../../../proxy/plan/ipvs/plan-base.ts';

const jump = (chain: string, text: string, target: string) => `-A ${chain} -m comment --comment "${text}" -j ${target}`;

const saved: Record<Table, string[]> = {
  mangle: [':KUBE-PROXY-CANARY - [0:0]'],
  filter: [
    ':KUBE-PROXY-FIREWALL - [0:0]',
    ':KUBE-NODEPORTS - [0:0]',
    ':FORWARD ACCEPT [0:0]',
    jump('FORWARD', 'kubernetes load balancer firewall', 'KUBE-PROXY-FIREWALL'),
    jump('FORWARD', 'kube-proxy firewall rules', 'KUBE-PROXY-FIREWALL'),
  ],
  nat: [
    ':PREROUTING ACCEPT [0:0]',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-LOAD-BALANCER - [0:0]',
    ':KUBE-MARK-MASQ - [0:0]',
    ':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]',
    jump('PREROUTING', 'kubernetes service portals', 'KUBE-SERVICES'),
    '-A KUBE-LOAD-BALANCER -j KUBE-MARK-MASQ',
  ],
};

/** What a cleanup of mode iptables writes, by table. */
async function linesOf(kept?: Parameters<typeof cleanupIptables>[2]): Promise<string> {
  const restored: string[] = [];
  const iptables: Pick<Iptables, 'save' | 'restore'> = {
    save: async (table) => parseSavedTable(saved[table].join('\n')),
    restore: async (text) => {
      restored.push(text);
    },
  };
  await cleanupIptables(iptables, undefined, kept);
  return restored.join('');
}

const options = { family: 'IPv4', masqueradeBit: 14, masqueradeAll: false, randomFully: true } as const;
const ipvs = computeKeptChains(planBase({ ...options, localTraffic: undefined }), undefined);

describe('cleanupIptables', () => {
  it('leaves chains that mode ipvs has filled by now, with all that is in them and the jumps to them', async () => {
    assert.deepEqual((await linesOf(ipvs)).trim().split('\n'), [
      '*mangle',
      ':KUBE-PROXY-CANARY - [0:0]',
      '-X KUBE-PROXY-CANARY',
      'COMMIT',
      '*filter',
      ':KUBE-NODEPORTS - [0:0]',
      '-D FORWARD -m comment --comment "kubernetes load balancer firewall" -j KUBE-PROXY-FIREWALL',
      '-X KUBE-NODEPORTS',
      'COMMIT',
      '*nat',
      ':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]',
      '-X KUBE-SVC-AAAAAAAAAAAAAAAA',
      'COMMIT',
    ]);
  });

  it('removes all of its mode where no other one stays', async () => {
    const text = await linesOf();
    for (const chain of ['KUBE-SERVICES', 'KUBE-MARK-MASQ', 'KUBE-PROXY-FIREWALL'])
      assert.match(text, new RegExp(`-X ${chain}`));
    assert.match(text, /-D PREROUTING .*-j KUBE-SERVICES/);
  });
});

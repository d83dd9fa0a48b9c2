import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { IpFamily } from '../../../proxy/model/service-port.ts';
import { planBase } from '../../../proxy/plan/iptables/plan-base.ts';
import { formatRestore, planDelta, planFull } from '../../../proxy/plan/iptables/rule-set.ts';
import { isIncompatible, planWholeTable } from '../../../proxy/plan/iptables/whole-table.ts';
import {
  baseOptions,
  parseSave,
  plannedServices,
  recordedSave,
  recordingNames,
} from '../../support/proxy-recordings.ts';

/** Chains in which rules of different services stand beside each other in no fixed order. */
const unordered =
  /^(nat (KUBE-SERVICES|KUBE-NODEPORTS)|filter (KUBE-SERVICES|KUBE-EXTERNAL-SERVICES|KUBE-NODEPORTS|KUBE-PROXY-FIREWALL))$/;

function comparable(chains: Map<string, string[]>): Record<string, string[]> {
  return Object.fromEntries(
    [...chains]
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([chain, rules]) => [chain, unordered.test(chain) ? [...rules].sort() : rules]),
  );
}

/** The state after a full restore, in the form of iptables-save. */
function plannedSave(name: string, family: IpFamily): Map<string, string[]> {
  const base = planBase(baseOptions(family));
  const chains = parseSave(formatRestore(planFull(base, baseOptions(family), plannedServices(name, family), [])));
  for (const chain of ['INPUT', 'FORWARD', 'OUTPUT']) chains.set(`filter ${chain}`, []);
  for (const chain of ['PREROUTING', 'INPUT', 'OUTPUT', 'POSTROUTING']) chains.set(`nat ${chain}`, []);
  for (const chain of ['PREROUTING', 'INPUT', 'FORWARD', 'OUTPUT', 'POSTROUTING']) chains.set(`mangle ${chain}`, []);
  for (const { table, chain, rule } of base.entries) chains.get(`${table} ${chain}`)?.unshift(rule);
  return chains;
}

describe('planFull', () => {
  for (const name of recordingNames) {
    for (const family of ['IPv4', 'IPv6'] as const) {
      it(`programs ${name} in ${family} as kube-proxy does, chain by chain`, () => {
        assert.deepEqual(comparable(plannedSave(name, family)), comparable(parseSave(recordedSave(name, family))));
      });
    }
  }

  it('flushes and deletes service chains that are no longer wanted, and no others', () => {
    const stale = ['KUBE-SVC-AAAAAAAAAAAAAAAA', 'KUBE-SEP-BBBBBBBBBBBBBBBB', 'CNI-HOSTPORT-DNAT', 'KUBE-FORWARD'];
    const options = baseOptions('IPv4');
    const [, , nat] = planFull(planBase(options), options, [], stale);
    assert.deepEqual(
      nat?.lines.filter((line) => line.startsWith('-X')),
      ['-X KUBE-SVC-AAAAAAAAAAAAAAAA', '-X KUBE-SEP-BBBBBBBBBBBBBBBB'],
    );
    assert.ok(nat?.lines.includes(':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]'));
  });
});

describe('planDelta', () => {
  const services = plannedServices('cluster-ip', 'IPv4');
  const web = services[0]!;

  it('says nothing when nothing changed', () => {
    assert.deepEqual(planDelta([{ before: web, after: structuredClone(web) }]), []);
  });

  it('names only the chains of a service that is new', () => {
    const [change, ...others] = planDelta([{ after: web }]);
    assert.deepEqual(others, []);
    assert.equal(change?.table, 'nat');
    assert.deepEqual(
      change?.lines.filter((line) => line.startsWith(':')).sort(),
      [...web.chains.keys()].map((chain) => `:${chain} - [0:0]`).sort(),
    );
    assert.equal(change?.lines.filter((line) => line.startsWith('-I KUBE-SERVICES')).length, 1);
  });

  it('removes the entry of a deleted service before its chains', () => {
    const [change] = planDelta([{ before: web }]);
    const lines = change?.lines ?? [];
    assert.ok(
      lines.findIndex((line) => line.startsWith('-D KUBE-SERVICES')) <
        lines.findIndex((line) => line.startsWith('-X ')),
    );
    assert.equal(lines.filter((line) => line.startsWith('-X ')).length, web.chains.size);
  });

  it('leaves endpoint chains alone that did not change', () => {
    const fewer = structuredClone(web);
    const gone = [...fewer.chains.keys()].find((chain) => chain.startsWith('KUBE-SEP-'))!;
    const service = [...fewer.chains.keys()].find((chain) => chain.startsWith('KUBE-SVC-'))!;
    fewer.chains.delete(gone);
    fewer.chains.set(
      service,
      fewer.chains.get(service)!.filter((rule) => !rule.includes(gone)),
    );
    const [change] = planDelta([{ before: web, after: fewer }]);
    const declared = change?.lines.filter((line) => line.startsWith(':')) ?? [];
    assert.deepEqual(declared.sort(), [`:${service} - [0:0]`, `:${gone} - [0:0]`].sort());
  });

  it('moves a service without endpoints from nat to a rejection in filter', () => {
    const empty = services.find((service) => service.chains.size === 0)!;
    assert.deepEqual(
      empty.shared.map(({ table, chain }) => `${table} ${chain}`),
      ['filter KUBE-SERVICES'],
    );
    const changes = planDelta([{ before: empty, after: web }]);
    assert.deepEqual(
      changes.map(({ table }) => table),
      ['filter', 'nat'],
    );
    assert.ok(changes[0]?.lines[0]?.startsWith('-D KUBE-SERVICES '));
  });
});

describe('planWholeTable', () => {
  const entries = planBase(baseOptions('IPv4')).entries;
  const saved = [
    '*nat',
    ':PREROUTING ACCEPT [1:2]',
    ':POSTROUTING ACCEPT [0:0]',
    ':FOREIGN - [0:0]',
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-SVC-AAAAAAAAAAAAAAAA - [0:0]',
    '[3:4] -A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
    '[5:6] -A PREROUTING -d 192.0.2.99/32 -j FOREIGN',
    '[0:0] -A KUBE-SERVICES -d 10.96.9.9/32 -j KUBE-SVC-AAAAAAAAAAAAAAAA',
    'COMMIT',
  ].join('\n');
  const lines = [
    ':KUBE-SERVICES - [0:0]',
    ':KUBE-POSTROUTING - [0:0]',
    '-A KUBE-SERVICES -j RETURN',
    '-X KUBE-SVC-AAAAAAAAAAAAAAAA',
  ];

  it('carries foreign chains and rules along with their counters, and puts ours in front', () => {
    assert.equal(
      planWholeTable('nat', saved, lines, entries),
      [
        '*nat',
        ':PREROUTING ACCEPT [1:2]',
        ':POSTROUTING ACCEPT [0:0]',
        ':FOREIGN - [0:0]',
        ':KUBE-SERVICES - [0:0]',
        ':KUBE-POSTROUTING - [0:0]',
        '-A PREROUTING -m comment --comment "kubernetes service portals" -j KUBE-SERVICES',
        '[5:6] -A PREROUTING -d 192.0.2.99/32 -j FOREIGN',
        '-A POSTROUTING -m comment --comment "kubernetes postrouting rules" -j KUBE-POSTROUTING',
        '-A KUBE-SERVICES -j RETURN',
        'COMMIT',
        '',
      ].join('\n'),
    );
  });

  it('is not for tables that iptables cannot express', () => {
    assert.equal(isIncompatible("# Table `nat' is incompatible, use 'nft' tool.\n"), true);
    assert.equal(isIncompatible(saved), false);
  });
});

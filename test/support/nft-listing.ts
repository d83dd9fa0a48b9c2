// What kube-proxy programmed in mode nftables, and nft's listings in a form that can be compared.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { IpFamily } from '../../proxy/model/service-port.ts';
import { planLocalTraffic } from '../../proxy/plan/nftables/local-traffic.ts';
import type { BasePlanOptions } from '../../proxy/plan/nftables/plan-base.ts';
import type { ServicePlanOptions } from '../../proxy/plan/nftables/plan-service.ts';
import { clusterCidrs, nodeIPs } from './proxy-recordings.ts';

/** The options of the recorded proxy. */
export function nftOptions(family: IpFamily): { base: BasePlanOptions; services: ServicePlanOptions } {
  const localTraffic = planLocalTraffic({ mode: 'ClusterCIDR', cidrs: clusterCidrs }, family);
  return {
    base: {
      family,
      masqueradeBit: 14,
      masqueradeAll: false,
      localTraffic,
      nodePortAddresses: family === 'IPv4' ? nodeIPs : 'all',
      serviceCIDRs: ['10.96.0.0/16', 'fd00:10:96::/112'],
    },
    services: { localTraffic, masqueradeBit: 14, nodeIPs },
  };
}

export function recordedListing(name: string): string {
  return readFileSync(join(import.meta.dirname, `../data/proxy/${name}.nft`), 'utf8');
}

/** kube-proxy's random choice by a map, as the rules that berth writes for few endpoints. */
function spreadChoice(translation: string | undefined, choices: readonly string[]): string[] {
  const protocol = /^meta l4proto \S+ /.exec(translation ?? '')?.[0] ?? '';
  return choices.map((choice, i) => {
    const left = choices.length - i;
    const share = left > 1 ? `numgen random mod ${left} < 1 ` : '';
    const target = choice.slice(choice.indexOf(' : ') + 3);
    if (translation === undefined) return `${share}${target}`;
    const [ip = '', port = ''] = target.split(' . ');
    return `${protocol}${share}dnat to ${ip.includes(':') ? `[${ip}]` : ip}:${port}`;
  });
}

/** Lines of one object; elements of sets have no order, and neither have members of a literal set in a rule. */
function normalise(line: string): string[] {
  if (line.startsWith('elements = {')) {
    const elements = line.slice(12, line.lastIndexOf('}')).split(/,(?![^"]*" )/);
    return elements.map((element) => `element ${element.trim().replace(/ expires \S+$/, '')}`).sort();
  }
  const choice = /^(meta l4proto \S+ dnat ip6? to )?numgen random mod (\d+) v?map \{ (.*) \}$/.exec(line);
  if (choice !== null && Number(choice[2]) <= 8) return spreadChoice(choice[1], (choice[3] ?? '').split(', '));
  const set = /^(.*!= \{ )(.*)( \}.*)$/.exec(line);
  if (set === null) return [line.replace(/timeout (\d+)m$/, (_, minutes) => `timeout ${Number(minutes) * 60}s`)];
  const members = (set[2] ?? '').split(', ').map((member) => member.replace(/\/32$/, ''));
  return [`${set[1]}${members.sort().join(', ')}${set[3]}`];
}

/** Content by `chain NAME`, `set NAME` or `map NAME` of the table of one family, from a listing or a transaction. */
export function parseNftTable(text: string, family: IpFamily): Record<string, string[]> {
  const objects: Record<string, string[]> = {};
  // Elements may go over several lines, and a short set may be written on one.
  const joined = text
    .replace(/,\n\s+/g, ', ')
    .replace(/ \{ (type [^{}]*;) \}/g, (_, body) => ` {\n${body.replaceAll('; ', ';\n')}\n}`);
  let inTable = false;
  let current: string[] | undefined;
  for (const raw of joined.split('\n')) {
    const line = raw.trim();
    const table = /^table (ip6?) kube-proxy \{$/.exec(line);
    if (table !== null) inTable = (table[1] === 'ip6') === (family === 'IPv6');
    if (!inTable) continue;
    const opened = /^((?:chain|set|map) \S+) \{$/.exec(line);
    if (opened !== null) {
      current = [];
      objects[opened[1] ?? ''] = current;
    } else if (line === '}') {
      current = undefined;
    } else if (current !== undefined && line !== '') {
      const isDeclaration = /^(type|size|flags|timeout)/.test(line) && !line.includes(' hook ');
      current.push(...normalise(isDeclaration ? line.replace(/;$/, '') : line));
    }
  }
  return objects;
}

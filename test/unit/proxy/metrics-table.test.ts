import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { createProgrammedServices } from '../../../proxy/apply/programmed-services.ts';
import { createSyncMetrics } from '../../../proxy/apply/sync-metrics.ts';
import { modeNames } from '../../../proxy/config/proxy-config.ts';
import { createHealthMetrics } from '../../../proxy/health/health-metrics.ts';
import { createPodNetworkMetrics, createPolicyMetrics } from '../../../proxy/network-metrics.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

interface Row {
  name: string;
  type: string;
  labels: string[];
  here: string;
}

const page = readFileSync(join(import.meta.dirname, '../../../docs/metrics-proxy.md'), 'utf8');
const rows = [...page.matchAll(/^\| `(\w+)` +\| (\w+) +\| (.*?) +\| (.*?) +\|$/gm)].map(
  ([, name = '', type = '', labels = '', here = '']): Row => ({
    name,
    type,
    labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label = '']) => label).sort(),
    here,
  }),
);
const isServed = ({ here }: Row): boolean => !/^no(:|$)/.test(here);

interface Family {
  name: string;
  type: string;
  labelNames?: string[];
}

async function served(): Promise<Map<string, Family>> {
  const families = new Map<string, Family>();
  for (const mode of modeNames) {
    const registry = new Registry();
    createSyncMetrics(registry, createFakeClock(), mode);
    createProgrammedServices(registry);
    createHealthMetrics(registry);
    createPodNetworkMetrics(registry);
    createPolicyMetrics(registry);
    for (const { name, type } of await registry.getMetricsAsJSON()) {
      const metric = registry.getSingleMetric(name) as unknown as { labelNames?: string[] };
      families.set(name, { name, type: String(type), labelNames: [...(metric.labelNames ?? [])].sort() });
    }
  }
  return families;
}

describe('docs/metrics-proxy.md', () => {
  it('names every family that is served, and no other as served', async () => {
    assert.deepEqual(
      rows
        .filter(isServed)
        .map(({ name }) => name)
        .sort(),
      [...(await served()).keys()].sort(),
    );
  });

  it('has their types and labels', async () => {
    for (const { name, type, labelNames } of (await served()).values()) {
      const row = rows.find((candidate) => candidate.name === name);
      assert.deepEqual([row?.type, row?.labels], [type, labelNames], name);
    }
  });

  it('says why a family is not served', () => {
    for (const row of rows) if (!isServed(row)) assert.match(row.here, /^no: \S/, row.name);
  });
});

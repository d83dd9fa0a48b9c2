import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, describe, it } from 'node:test';
import { createAgentRegistry } from '../../support/agent-metric-registry.ts';

interface Family {
  name: string;
  type: string;
  labels: string[];
}

const text = readFileSync(new URL('../../../docs/metrics.md', import.meta.url), 'utf8');

function recorded(name: string): Family[] {
  return JSON.parse(readFileSync(new URL(`../../data/metrics/${name}.json`, import.meta.url), 'utf8'));
}

/** Rows of one section by family. */
function rowsOf(title: string): Map<string, string[]> {
  const section = text.split(/^## /m).find((part) => part.startsWith(`${title}\n`)) ?? '';
  return new Map(
    section.split('\n').flatMap((line) => {
      const [, name = '', ...cells] = line.split('|').map((cell) => cell.trim().replaceAll('`', ''));
      return /^[a-z_0-9]+$/.test(name) ? [[name, cells] as const] : [];
    }),
  );
}

function plainLabels({ labels }: Family): string[] {
  return labels.filter((label) => label !== 'le' && label !== 'quantile').sort();
}

describe('docs/metrics.md', () => {
  const agent = createAgentRegistry();
  after(() => agent[Symbol.dispose]());

  for (const [title, file] of [
    ['/metrics', 'kubelet'],
    ['/metrics/cadvisor', 'cadvisor'],
    ['/metrics/resource', 'resource'],
  ] as const) {
    it(`has a row for every family of ${title}, with type, labels and an answer`, () => {
      const rows = rowsOf(title);
      for (const family of recorded(file)) {
        const [type, labels, here] = rows.get(family.name) ?? [];
        assert.equal(type, family.type, family.name);
        assert.deepEqual(labels === '' ? [] : labels?.split(', ').sort(), plainLabels(family), family.name);
        assert.match(here ?? '', /^(served|no: \S.+)$/, family.name);
      }
    });
  }

  it('says served of the families in the registry and of no others, with the same types and labels', async () => {
    const served = new Map(
      (await agent.registry.getMetricsAsArray()).map((metric) => [
        metric.name,
        { type: metric.type, labels: [...((metric as { labelNames?: string[] }).labelNames ?? [])].sort() },
      ]),
    );
    const shown = await agent.registry.metrics();
    const rows = rowsOf('/metrics');
    for (const family of recorded('kubelet')) {
      const isServed = rows.get(family.name)?.[2] === 'served';
      assert.equal(served.has(family.name), isServed, family.name);
      if (!isServed) continue;
      assert.ok(shown.includes(`# TYPE ${family.name} ${family.type}\n`), family.name);
      assert.deepEqual(served.get(family.name)?.labels, plainLabels(family), family.name);
    }
  });
});

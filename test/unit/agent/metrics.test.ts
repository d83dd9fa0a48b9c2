import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import type { CgroupStats } from '../../../agent/stats/cgroup-stats.ts';
import { computeSummary } from '../../../agent/stats/compute-summary.ts';
import { createMetricText, labelText } from '../../../agent/stats/metric-text.ts';
import { parseInterfaces } from '../../../agent/stats/process-stats.ts';
import { renderCadvisor } from '../../../agent/stats/render-cadvisor.ts';
import { renderResource } from '../../../agent/stats/render-resource.ts';
import { createSampler } from '../../../agent/stats/sampler.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf, run, runtimeOf } from './fixtures.ts';

interface Family {
  name: string;
  type: string;
  labels: string[];
}

function recorded(name: string): Family[] {
  return JSON.parse(readFileSync(new URL(`../../data/metrics/${name}.json`, import.meta.url), 'utf8'));
}

function parse(text: string): Map<string, { type: string; labels: Set<string> }> {
  const families = new Map<string, { type: string; labels: Set<string> }>();
  for (const line of text.split('\n')) {
    const type = /^# TYPE (\S+) (\S+)$/.exec(line);
    if (type?.[1] !== undefined) families.set(type[1], { type: type[2] ?? '', labels: new Set() });
    const series = /^([a-z_0-9]+)(?:\{(.*)\})? \S+(?: \d+)?$/.exec(line);
    for (const label of series?.[2]?.matchAll(/(\w+)="/g) ?? [])
      families.get(series?.[1] ?? '')?.labels.add(label[1] ?? '');
  }
  return families;
}

function stats(totalNs: number): CgroupStats {
  return {
    cpu: { totalNs, userNs: 2e9, systemNs: 1e9, periods: 0, throttledPeriods: 0, throttledNs: 0 },
    memory: {
      usage: 2000,
      maxUsage: 3000,
      workingSet: 1500,
      cache: 400,
      rss: 1000,
      swap: 0,
      mappedFile: 100,
      kernel: 10,
      activeFile: 200,
      inactiveFile: 500,
      failures: 0,
      pageFaults: 7,
      majorPageFaults: 1,
      oomKills: 0,
    },
    spec: {
      cpuShares: 2,
      cpuPeriodUs: 100000,
      cpuQuotaUs: 0,
      memoryLimit: 0,
      memoryReservation: 0,
      memorySwapLimit: 0,
      pidsLimit: 0,
    },
    threads: 1,
    processes: [process.pid],
    createdAtMs: 1000,
  };
}

function sampler() {
  const clock = createFakeClock();
  const runtime = runtimeOf([run('c')]);
  const pod = podOf({ containers: [container('c')] });
  let totalNs = 5e9;
  const sample = createSampler({
    reader: {
      read: (path) => (path.includes('gone') ? undefined : stats(totalNs)),
      children: (path) => (path.endsWith('pod') ? ['c-0', 's0', 'gone'] : []),
    },
    clock,
    pods: () => [pod],
    runtimeOf: () => runtime,
    pathOf: () => '/kubepods/pod',
    groupPaths: ['/kubepods'],
  });
  const use = (ns: number) => {
    totalNs += ns;
  };
  return { clock, sample, use };
}

const machine = {
  facts: {
    cpus: 2,
    memoryBytes: 4096,
    swapBytes: 0,
    hugepages: [],
    machineId: 'm',
    systemUuid: 's',
    bootId: 'b',
    kernelVersion: '6.1',
    osImage: 'Debian',
    architecture: 'amd64',
  },
  sockets: 1,
  physicalCores: 2,
};

describe('/metrics/cadvisor', async () => {
  const { sample } = sampler();
  let text = '';
  for await (const part of renderCadvisor(await sample(), machine)) text += part;
  const families = parse(text);
  for (const { name, type, labels } of recorded('cadvisor')) {
    it(`has ${name} as a ${type} with its labels`, (test) => {
      const family = families.get(name);
      assert.equal(family?.type, type);
      if (name.startsWith('container_network_') && family?.labels.size === 0) {
        test.skip('this machine has no network interface but loopback');
        return;
      }
      assert.deepEqual([...(family?.labels ?? [])].sort(), labels.filter((label) => label !== 'le').sort());
    });
  }
});

describe('/metrics/resource', async () => {
  const { sample } = sampler();
  const text = createMetricText();
  renderResource(text, await sample());
  const families = parse(text.toString());
  for (const { name, type, labels } of recorded('resource')) {
    it(`has ${name} as a ${type} with its labels`, () => {
      assert.equal(families.get(name)?.type, type);
      assert.deepEqual([...(families.get(name)?.labels ?? [])].sort(), labels);
    });
  }
});

describe('createSampler', () => {
  it('shares a sample between requests that come together', async () => {
    const { clock, sample } = sampler();
    const first = sample();
    assert.equal(sample(), first);
    await clock.advance(9000);
    assert.equal(sample(), first);
    await clock.advance(1000);
    assert.notEqual(sample(), first);
  });

  it('tells processor use from an earlier sample', async () => {
    const { clock, sample, use } = sampler();
    assert.equal((await sample()).cgroups[0]?.nanoCores, undefined);
    await clock.advance(10_000);
    use(5e9);
    assert.equal((await sample()).cgroups[0]?.nanoCores, 5e8);
  });
});

describe('computeSummary', () => {
  it('sums up node, pod and container', async () => {
    const { sample } = sampler();
    const inputs = {
      nodeName: 'n',
      bootedAtMs: 0,
      memoryBytes: 4096,
      nodeFs: undefined,
      imageFs: undefined,
      containerStats: [],
      logBytes: () => 10,
      volumes: () => [],
      maxPids: 100,
      processes: 5,
    };
    const { node, pods } = computeSummary(await sample(), inputs, false) as {
      node: { memory: { availableBytes: number } };
      pods: { podRef: object; containers: { name: string; logs: { usedBytes: number } }[] }[];
    };
    assert.equal(node.memory.availableBytes, 4096 - 1500);
    assert.deepEqual(
      pods.map(({ podRef }) => podRef),
      [{ name: 'web', namespace: 'shop', uid: 'uid-1' }],
    );
    assert.deepEqual(
      pods[0]?.containers.map(({ name, logs }) => [name, logs.usedBytes]),
      [['c', 10]],
    );
  });
});

describe('metric text', () => {
  it('escapes label values', () => assert.equal(labelText({ a: 'x"\\\n' }), 'a="x\\"\\\\\\n"'));

  it('writes families with help and type', () => {
    const text = createMetricText();
    text.family('f', 'gauge', 'Help.');
    text.add('a="1"', 2, 3.4);
    text.add('', 5);
    assert.equal(text.toString(), '# HELP f Help.\n# TYPE f gauge\nf{a="1"} 2 3\nf 5\n');
  });

  it('reads the counters of interfaces but loopback', () => {
    const text = 'a\nb\n    lo: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n  eth0: 10 2 3 4 0 0 0 0 20 5 6 7 0 0 0 0\n';
    assert.deepEqual(parseInterfaces(text), [
      {
        name: 'eth0',
        rxBytes: 10,
        rxPackets: 2,
        rxErrors: 3,
        rxDropped: 4,
        txBytes: 20,
        txPackets: 5,
        txErrors: 6,
        txDropped: 7,
      },
    ]);
  });
});

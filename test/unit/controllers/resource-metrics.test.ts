import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Node } from '#kube/api/generated/core-v1.ts';
import { computeUsage } from '../../../control-plane-lite/addons/resource-metrics/compute-usage.ts';
import { parseResourceMetrics } from '../../../control-plane-lite/addons/resource-metrics/parse-resource-metrics.ts';
import { scrapeNodes } from '../../../control-plane-lite/addons/resource-metrics/scrape-nodes.ts';
import { createUsageStore } from '../../../control-plane-lite/addons/resource-metrics/usage-store.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { node as objectNode } from '../../support/objects.ts';

const point = (atMs: number, cpuSeconds: number, startedAtMs = 0) => ({
  cpuSeconds,
  memoryBytes: 2048,
  atMs,
  startedAtMs,
});

describe('reading what agents measure', () => {
  it('takes processor, memory and start of containers, and of the node', () => {
    const labels = '{container="c",namespace="ns",pod="p"}';
    const text = [
      '# HELP container_cpu_usage_seconds_total x',
      `container_cpu_usage_seconds_total${labels} 1.5 1700000000123`,
      `container_memory_working_set_bytes${labels} 4096 1700000000123`,
      `container_start_time_seconds${labels} 1.699999990e+09`,
      'node_cpu_usage_seconds_total 7 1700000000200',
      'node_memory_working_set_bytes 1e+06 1700000000200',
      'pod_cpu_usage_seconds_total{namespace="ns",pod="p"} 9',
      'resource_scrape_error 0',
    ].join('\n');
    const report = parseResourceMetrics(text, 5);
    assert.deepEqual(report.node, { ...point(1_700_000_000_200, 7), memoryBytes: 1e6 });
    assert.deepEqual(report.pods.get('ns/p')?.get('c'), {
      cpuSeconds: 1.5,
      memoryBytes: 4096,
      atMs: 1_700_000_000_123,
      startedAtMs: 1_699_999_990_000,
    });
  });

  it('leaves out what is no measurement, and containers without both values', () => {
    const text = [
      'container_cpu_usage_seconds_total{container="c",namespace="ns",pod="p"} NaN',
      'container_memory_working_set_bytes{container="c",namespace="ns",pod="p"} 1',
      'container_cpu_usage_seconds_total{container="d",namespace="ns"} 1',
      'node_cpu_usage_seconds_total -3',
      'garbage {{{',
    ].join('\n');
    const report = parseResourceMetrics(text, 5);
    assert.equal(report.node, undefined);
    assert.equal(report.pods.size, 0);
  });
});

describe('usage from two measurements', () => {
  it('is the processor time between them, divided by their distance', () => {
    const usage = computeUsage(point(10_000, 5), point(25_000, 8));
    assert.deepEqual(usage, { cpuNano: 200_000_000n, memoryBytes: 2048, atMs: 25_000, windowMs: 15_000 });
  });

  it('of a young container begins at its start', () => {
    assert.equal(computeUsage(undefined, point(100_000, 10, 80_000))?.cpuNano, 500_000_000n);
    assert.equal(computeUsage(undefined, point(100_000, 1, 95_000)), undefined, 'too young');
    assert.equal(computeUsage(undefined, point(1_000_000, 1, 80_000)), undefined, 'not young any more');
  });

  it('does not mix a container with the one before it', () => {
    assert.equal(computeUsage(point(90_000, 50, 1), point(100_000, 1, 98_000)), undefined);
    assert.equal(computeUsage(point(80_000, 50, 1), point(100_000, 3, 85_000))?.windowMs, 15_000);
  });

  it('is not known while one container of the pod is not measured', () => {
    const store = createUsageStore(createFakeClock());
    const pods = (atMs: number, names: string[]) =>
      new Map([['ns/p', new Map(names.map((name) => [name, point(atMs, atMs / 1000)]))]]);
    store.add('n', { node: point(1000, 1), pods: pods(1000, ['a']) });
    store.add('n', { node: point(2000, 2), pods: pods(2000, ['a', 'b']) });
    assert.equal(store.pod('n', 'ns', 'p'), undefined);
    store.add('n', { node: point(3000, 3), pods: pods(3000, ['a', 'b']) });
    assert.deepEqual([...(store.pod('n', 'ns', 'p')?.keys() ?? [])], ['a', 'b']);
    assert.equal(store.pod('other', 'ns', 'p'), undefined, 'a node speaks only of its own pods');
  });

  it('is forgotten when the node has been silent for two minutes', async () => {
    const clock = createFakeClock();
    const store = createUsageStore(clock);
    store.add('n', { node: point(1000, 1), pods: new Map() });
    store.add('n', { node: point(2000, 2), pods: new Map() });
    assert.notEqual(store.node('n'), undefined);
    await clock.advance(121_000);
    assert.equal(store.node('n'), undefined);
  });

  it('does not count an answer from the same measurement twice', () => {
    const store = createUsageStore(createFakeClock());
    for (let times = 0; times < 2; times += 1) store.add('n', { node: point(1000, 1), pods: new Map() });
    assert.equal(store.isWarm('n'), false);
  });
});

describe('asking the agents', () => {
  const node = (name: string, port = 10250): Node =>
    objectNode(name, {
      status: {
        addresses: [{ type: 'InternalIP', address: '10.0.0.1' }],
        daemonEndpoints: { kubeletEndpoint: { Port: port } },
      },
    });

  async function watchScrapes(nodes: Node[], answer: (name: string) => Promise<string>, forMs: number) {
    const clock = createFakeClock();
    const stop = new AbortController();
    const asked: string[] = [];
    let running = 0;
    let most = 0;
    const run = scrapeNodes(
      {
        nodes: () => nodes,
        scrape: async (name) => {
          asked.push(name);
          running += 1;
          most = Math.max(most, running);
          try {
            return await answer(name);
          } finally {
            running -= 1;
          }
        },
        store: createUsageStore(clock),
        clock,
        logger: pino({ level: 'silent' }),
        intervalMs: 15_000,
      },
      stop.signal,
    );
    for (let passed = 0; passed < forMs; passed += 1000) {
      await clock.advance(1000);
    }
    stop.abort();
    await run;
    return { asked, most };
  }

  it('asks soon a second time, then every fifteen seconds', async () => {
    let at = 0;
    const text = async () => {
      at += 1;
      return `node_cpu_usage_seconds_total ${at} ${at}000\nnode_memory_working_set_bytes 1 ${at}000`;
    };
    const { asked } = await watchScrapes([node('a')], text, 36_000);
    assert.equal(asked.length, 4, 'at 0, 5, 20 and 35 seconds');
  });

  it('asks nodes that do not answer less and less, and those without a port never', async () => {
    const { asked } = await watchScrapes([node('a'), node('b', 0)], () => Promise.reject(new Error('no')), 120_000);
    assert.deepEqual(asked, ['a', 'a', 'a', 'a'], 'at 0, 15, 45 and 105 seconds');
  });

  it('asks few at once, and all in their turn', async () => {
    const nodes = Array.from({ length: 300 }, (_, index) => node(`n${index}`));
    const { asked, most } = await watchScrapes(
      nodes,
      async () => new Promise((done) => setImmediate(done, '')),
      40_000,
    );
    assert.equal(new Set(asked).size, 300);
    assert.ok(most <= 24, `${most} at once`);
  });
});

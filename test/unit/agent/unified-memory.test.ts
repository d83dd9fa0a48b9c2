import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { containerResources } from '../../../agent/container/container-resources.ts';
import { type UnifiedMemorySettings, unifiedMemory } from '../../../agent/container/unified-memory.ts';
import { container, podOf } from './fixtures.ts';

const settings: UnifiedMemorySettings = {
  swapBehavior: 'LimitedSwap',
  swapBytes: 1000,
  memoryBytes: 10_000_000,
  memoryQos: false,
  groupOomKill: false,
  throttlingFactor: 0.9,
};
const using = (request: string | undefined, limit?: string) =>
  container('c', {
    resources: {
      ...(request === undefined ? {} : { requests: { memory: request } }),
      ...(limit === undefined ? {} : { limits: { memory: limit } }),
    },
  });

describe('memory of containers in version 2 cgroups', () => {
  const swap: [string, ReturnType<typeof using>, string][] = [
    ['burstable containers get swap in proportion to what they ask for', using('5000000'), '500'],
    ['containers that ask for nothing get none', using(undefined), '0'],
    ['containers with the limit they ask for get none', using('5000000', '5000000'), '0'],
  ];
  for (const [what, item, expected] of swap) {
    it(what, () => {
      const pod = podOf({ containers: [item, container('other', { resources: { requests: { cpu: '1' } } })] });
      assert.equal(unifiedMemory(pod, item, settings)['memory.swap.max'], expected);
      const off = { ...settings, swapBehavior: 'NoSwap' as const };
      assert.equal(unifiedMemory(pod, item, off)['memory.swap.max'], '0');
    });
  }

  it('has nothing to say where there is no swap', () => {
    const item = using('5000000');
    assert.deepEqual(unifiedMemory(podOf({ containers: [item] }), item, { ...settings, swapBytes: 0 }), {});
  });

  it('ends a container as a whole when memory is short, unless one process may die alone', () => {
    const item = using(undefined);
    const files = unifiedMemory(podOf({ containers: [item] }), item, { ...settings, swapBytes: 0, groupOomKill: true });
    assert.deepEqual(files, { 'memory.oom.group': '1' });
  });

  it('protects what was asked for, and slows down short of the limit, with MemoryQoS', () => {
    const item = using('4096000', '8192000');
    const files = unifiedMemory(podOf({ containers: [item] }), item, { ...settings, swapBytes: 0, memoryQos: true });
    assert.deepEqual(files, { 'memory.min': '4096000', 'memory.high': `${Math.floor(7_782_400 / 4096) * 4096}` });
  });

  it('leaves the limit of memory and swap together to the kernel where swap is limited by itself', () => {
    const item = using('5000000', '8000000');
    const node = { memoryCapacityBytes: 1e9, hugepageSizes: [], cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100 };
    const pod = podOf({ containers: [item] });
    assert.equal(containerResources(pod, item, node).memorySwapLimitInBytes, 8_000_000);
    const limited = containerResources(pod, item, { ...node, unified: settings });
    assert.deepEqual([limited.memorySwapLimitInBytes, limited.unified], [undefined, { 'memory.swap.max': '500' }]);
  });
});

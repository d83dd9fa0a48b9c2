import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { Registry } from 'prom-client';
import { createBurstLimiter } from '../../../proxy/apply/burst-limiter.ts';
import { syncIsolating } from '../../../proxy/apply/isolate-failures.ts';
import { createProgrammedServices } from '../../../proxy/apply/programmed-services.ts';
import type { RuleApplier, ServiceState } from '../../../proxy/apply/rule-applier.ts';
import { createSyncLoop } from '../../../proxy/apply/sync-loop.ts';
import { createSyncMetrics } from '../../../proxy/apply/sync-metrics.ts';
import { findLockHolder, parseLocks, watchXtablesLock } from '../../../proxy/apply/xtables-lock.ts';
import { createFakeClock, settle } from '../../support/fake-clock.ts';

const logger = pino({ level: 'silent' });
const empty: ServiceState = new Map();

/** A kernel that refuses some services, and everything while it is out of order. */
function createFakeApplier(refuses: Set<string>) {
  const applied = new Set<string>();
  const syncs: string[][] = [];
  let outOfOrder = false;
  let left = 0;
  const applier: RuleApplier = {
    sync: async (changed) => {
      syncs.push([...changed.keys()]);
      if (outOfOrder) throw new Error('no kernel');
      const bad = [...changed.keys()].find((key) => refuses.has(key));
      if (bad !== undefined) throw new Error(`refused ${bad}`);
      for (const key of changed.keys()) applied.add(key);
      return { full: false, lines: changed.size, conntrack: [] };
    },
    forceFull: () => undefined,
    isIntact: async () => true,
    tidy: async () => {
      left = Math.max(0, left - 1);
      return left > 0;
    },
    ruleCount: 0,
  };
  const control = {
    breakDown: (isBroken: boolean) => {
      outOfOrder = isBroken;
    },
    leave: (count: number) => {
      left = count;
    },
    left: () => left,
  };
  return { applier, applied, syncs, ...control };
}

const states = (keys: readonly string[]) => new Map(keys.map((key) => [key, empty]));
const many = Array.from({ length: 100 }, (_, i) => `demo/s-${i}`);

describe('syncIsolating', () => {
  it('applies everything at once where nothing is refused', async () => {
    const { applier, syncs } = createFakeApplier(new Set());
    const { refused, applied } = await syncIsolating(applier, states(many));
    assert.deepEqual([syncs.length, refused.length, applied.size], [1, 0, 100]);
  });

  it('finds the ones that are refused and applies all others, in few steps', async () => {
    const bad = ['demo/s-3', 'demo/s-77'];
    const { applier, applied, syncs } = createFakeApplier(new Set(bad));
    const outcome = await syncIsolating(applier, states(many));
    assert.deepEqual(outcome.refused.map(({ key }) => key).sort(), bad);
    assert.match(String(outcome.refused[0]?.error), /refused demo\/s-3/);
    assert.equal(applied.size, 98);
    assert.equal(outcome.applied.size, 98);
    assert.ok(syncs.length < 40, `${syncs.length} syncs`);
  });

  it('blames no service when nothing can be applied at all', async () => {
    const { applier, breakDown } = createFakeApplier(new Set());
    breakDown(true);
    await assert.rejects(syncIsolating(applier, states(many)), /no kernel/);
  });
});

describe('the burst limiter', () => {
  it('lets two changes through at once, then one in a period', () => {
    const limiter = createBurstLimiter(1000);
    assert.equal(limiter.delayMs(0), 0);
    limiter.take(0);
    assert.equal(limiter.delayMs(0), 0);
    limiter.take(0);
    assert.equal(limiter.delayMs(0), 1000);
    assert.equal(limiter.delayMs(400), 600);
    limiter.take(1000);
    assert.equal(limiter.delayMs(1000), 1000);
    assert.equal(limiter.delayMs(9000), 0);
    limiter.take(9000);
    assert.equal(limiter.delayMs(9000), 0, 'a pause earns the burst again');
  });
});

/** A loop over services that exist by name. */
function setup(refuses: string[] = []) {
  const clock = createFakeClock();
  const refusing = new Set(refuses);
  const fake = createFakeApplier(refusing);
  const registry = new Registry();
  const told: string[] = [];
  const service = (key: string) => ({
    apiVersion: 'v1' as const,
    kind: 'Service' as const,
    metadata: { namespace: 'demo', name: key.split('/')[1] ?? '' },
    spec: { clusterIP: 'None' },
  });
  const programmed = createProgrammedServices(registry);
  const loop = createSyncLoop({
    family: 'IPv4',
    applier: fake.applier,
    tracker: {
      takeDirty: () => ({ keys: new Set(), triggeredAtMs: [], changes: { services: 0, endpoints: 0 } }),
      read: (key) => ({ service: service(key), slices: [] }),
      allKeys: () => [],
      onDirty: () => undefined,
    },
    topology: () => ({ nodeName: 'here', zone: undefined }),
    deleteConntrack: async () => undefined,
    planStale: async () => [],
    onRefused: (key) => told.push(key),
    minSyncPeriodMs: 1000,
    syncPeriodMs: 30_000,
    metrics: createSyncMetrics(registry, clock, 'iptables'),
    programmed,
    clock,
    logger,
  });
  const stop = new AbortController();
  const running = loop.run(stop.signal);
  const end = async () => {
    stop.abort();
    await running;
  };
  return { ...fake, clock, loop, refusing, registry, told, programmed, end };
}

describe('the sync loop', () => {
  it('applies two changes at once and a third one a period later', async () => {
    const { loop, syncs, clock, end } = setup();
    await settle();
    syncs.length = 0;
    loop.markDirty(['demo/a'], []);
    await settle();
    assert.deepEqual(syncs, [['demo/a']], 'the first sync took the other one');
    loop.markDirty(['demo/b'], []);
    loop.markDirty(['demo/c'], []);
    await settle();
    assert.equal(syncs.length, 1);
    await clock.advance(1000);
    assert.deepEqual(syncs.slice(1), [['demo/b', 'demo/c']]);
    await end();
  });

  it('names a service that is refused, applies the others, and tries again later and later', async () => {
    const { loop, applied, refusing, told, registry, syncs, clock, end } = setup(['demo/bad']);
    await settle();
    loop.markDirty(['demo/a', 'demo/bad', 'demo/b'], []);
    await settle();
    assert.deepEqual([...applied].sort(), ['demo/a', 'demo/b']);
    assert.deepEqual(told, ['demo/bad']);
    const metric = async () => await registry.getSingleMetricAsString('berth_proxy_refused_service');
    assert.match(await metric(), /\{namespace="demo",service="bad",ip_family="IPv4"\} 1/);
    await clock.advance(1000);
    assert.equal(told.length, 2, 'after a second');
    await clock.advance(1500);
    assert.equal(told.length, 2, 'not after another one');
    await clock.advance(500);
    assert.equal(told.length, 3);
    syncs.length = 0;
    loop.markDirty(['demo/c'], []);
    await settle();
    assert.deepEqual(syncs, [['demo/c']], 'a change of another one does not wait for it');
    refusing.clear();
    await clock.advance(5000);
    assert.ok(applied.has('demo/bad'));
    assert.doesNotMatch(await metric(), /service="bad"/);
    await end();
  });

  it('says when each service was programmed, all of them or one', async () => {
    const { loop, programmed, registry, clock, end } = setup(['demo/bad']);
    await clock.advance(5000);
    loop.markDirty(['demo/a', 'demo/bad'], []);
    await settle();
    assert.deepEqual(programmed.list(), { 'demo/a': { IPv4: '2026-01-01T00:00:05.000Z' } });
    assert.deepEqual(programmed.list('demo/none'), {});
    loop.markDirty(many, []);
    await clock.advance(3000);
    const text = await registry.getSingleMetricAsString('berth_proxy_service_programmed_timestamp_seconds');
    assert.equal(text.match(/^berth_proxy_service_programmed/gm)?.length, 100, 'the last hundred');
    assert.doesNotMatch(text, /service="a"/);
    await end();
  });

  it('measures from the arrival of a change to its rules, by mode', async () => {
    const { loop, registry, clock, end } = setup();
    await settle();
    loop.markDirty(['demo/a'], [clock.now() - 3000]);
    await settle();
    const own = await registry.getSingleMetricAsString('berth_proxy_change_applied_duration_seconds');
    assert.match(own, /_count\{mode="iptables",ip_family="IPv4"\} 1/);
    const upstream = await registry.getSingleMetricAsString('kubeproxy_network_programming_duration_seconds');
    assert.match(upstream, /_sum\{ip_family="IPv4"\} 3/);
    await end();
  });

  it('removes what is left over until nothing is', async () => {
    const { clock, leave, left, end } = setup();
    leave(3);
    await clock.advance(5000);
    assert.equal(left(), 2);
    await clock.advance(20_000);
    assert.equal(left(), 0);
    await end();
  });

  it('tries everything again when nothing could be applied', async () => {
    const { loop, breakDown, applied, told, clock, end } = setup();
    await settle();
    breakDown(true);
    loop.markDirty(['demo/a'], []);
    await settle();
    assert.deepEqual([applied.size, told.length], [0, 0]);
    breakDown(false);
    await clock.advance(1000);
    assert.ok(applied.has('demo/a'));
    await end();
  });
});

describe('the xtables lock', () => {
  const locks = (inode: number): string =>
    [
      `1: FLOCK  ADVISORY  WRITE 4321 00:19:${inode} 0 EOF`,
      `1: -> FLOCK  ADVISORY  WRITE 4999 00:19:${inode} 0 EOF`,
      '2: POSIX  ADVISORY  WRITE 77 00:19:99 0 EOF',
    ].join('\n');

  it('is held by those that do not wait for it', () => {
    assert.deepEqual(parseLocks(locks(5), 5), [4321]);
  });

  it('has its holder named when a program waits for it, unless that is one of our own', async () => {
    const root = mkdtempSync(join(tmpdir(), 'berth-lock-'));
    try {
      for (const path of ['run', 'proc/4321']) mkdirSync(join(root, path), { recursive: true });
      writeFileSync(join(root, 'run/xtables.lock'), '');
      writeFileSync(join(root, 'proc/locks'), locks(statSync(join(root, 'run/xtables.lock')).ino));
      writeFileSync(join(root, 'proc/4321/status'), 'Name:\tfirewalld\nPPid:\t1\n');
      writeFileSync(join(root, 'proc/4321/cmdline'), 'firewalld\0--nofork\0');
      const holder = { pid: 4321, command: 'firewalld --nofork' };
      assert.deepEqual(await findLockHolder(root, 500), holder);
      assert.equal(await findLockHolder(root, 1), undefined, 'a program that we started');
      const lines: string[] = [];
      const clock = createFakeClock();
      const told = Promise.withResolvers<void>();
      const write = (line: string): void => {
        lines.push(line);
        told.resolve();
      };
      const slow = Promise.withResolvers<void>();
      const exec = watchXtablesLock(
        async () => {
          await slow.promise;
          return { exitCode: 0, stdout: '', stderr: '' };
        },
        { clock, root, ownPid: 500, logger: pino({}, { write }) },
      );
      const done = exec('iptables-restore', []);
      await clock.advance(1000);
      await told.promise;
      assert.deepEqual(JSON.parse(lines[0] ?? '{}').holder, holder);
      slow.resolve();
      await done;
      assert.equal(clock.pending, 0);
    } finally {
      rmSync(root, { recursive: true });
    }
  });
});

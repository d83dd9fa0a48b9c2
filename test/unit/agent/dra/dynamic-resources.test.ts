// Claims, drivers and the health of their devices, around drivers and an API server that are only described.
import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim } from '#kube/api/generated/resource-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { createClaimManager } from '../../../../agent/dra/claim-manager.ts';
import { openClaimStore } from '../../../../agent/dra/claim-store.ts';
import { createDeviceHealth, type HealthReport } from '../../../../agent/dra/device-health.ts';
import type { DraClient } from '../../../../agent/dra/dra-client.ts';
import { createDriverRegistry } from '../../../../agent/dra/driver-registry.ts';
import { removeResourceSlices } from '../../../../agent/dra/resource-slices.ts';
import { createFakeClock } from '../../../support/fake-clock.ts';
import { container, podOf } from '../fixtures.ts';

const logger = pino({ level: 'silent' });
const signal = new AbortController().signal;
const driver = 'gadgets.example.com';

type Result = { request: string; device: string; adminAccess?: boolean };

function claimOf(name: string, results: Result[], users: string[]): ResourceClaim {
  return {
    apiVersion: 'resource.k8s.io/v1',
    kind: 'ResourceClaim',
    metadata: { name, namespace: 'shop', uid: `${name}-uid` },
    spec: {},
    status: {
      allocation: { devices: { results: results.map((result) => ({ driver, pool: 'pool', ...result })) } },
      reservedFor: users.map((uid) => ({ resource: 'pods', name: uid, uid })),
    },
  };
}

const userOf = (
  uid: string,
  claims: Record<string, string>,
  containers: Container[],
  status: Pod['status'] = {},
): Pod => ({
  ...podOf(
    {
      containers,
      resourceClaims: Object.entries(claims).map(([name, resourceClaimName]) => ({ name, resourceClaimName })),
    },
    { uid, name: uid },
  ),
  status,
});

const using = (name: string, ...claims: { name: string; request?: string }[]) =>
  container(name, { resources: { claims } });

interface OpenOptions {
  claims?: ResourceClaim[];
  rootDir?: string;
  /** Words of the driver for the n-th call; undefined: it works. */
  fails?: (call: number) => string | undefined;
}

async function open(
  t: { after(run: () => void): void },
  { claims = [], rootDir, fails = () => undefined }: OpenOptions,
) {
  const directory = rootDir ?? mkdtempSync(join(tmpdir(), 'claims-'));
  if (rootDir === undefined) t.after(() => rmSync(directory, { recursive: true }));
  const calls: string[] = [];
  const operations: [string, boolean][] = [];
  const drivers: string[] = [driver];
  const fail = () => {
    const words = fails(calls.length);
    if (words !== undefined) throw new Error(words);
  };
  const plugin: Pick<DraClient, 'prepare' | 'unprepare'> = {
    async prepare({ uid, name }) {
      calls.push(`prepare ${name}`);
      fail();
      const results = claims.find((claim) => claim.metadata.uid === uid)?.status?.allocation?.devices?.results ?? [];
      return results.map(({ request, pool, device }) => ({
        requestNames: [request],
        poolName: pool,
        deviceName: device,
        cdiDeviceIds: [`${driver}/gadget=${device}`],
      }));
    },
    async unprepare({ name }) {
      calls.push(`unprepare ${name}`);
      fail();
    },
  };
  const manager = createClaimManager({
    // Nothing else of the API is used.
    client: {
      get: async (_: unknown, { name }: { name: string }) => claims.find((claim) => claim.metadata.name === name),
    } as unknown as ApiClient,
    store: await openClaimStore(join(directory, 'dra_manager_state'), logger),
    clientOf(name) {
      if (!drivers.includes(name)) throw new Error(`DRA driver ${name} is not registered`);
      return plugin as DraClient;
    },
    clock: createFakeClock(0),
    observe: (operation, failed) => operations.push([operation, failed]),
  });
  return { manager, calls, operations, drivers, directory, path: join(directory, 'dra_manager_state') };
}

describe('claims of pods', () => {
  it('are prepared once for all pods that share them, and taken back with the last', async (t) => {
    const { manager, calls } = await open(t, {
      claims: [claimOf('shared', [{ request: 'r', device: 'd0' }], ['a', 'b'])],
    });
    const pods = ['a', 'b'].map((uid) => userOf(uid, { g: 'shared' }, [using('c', { name: 'g' })]));
    for (const pod of pods) await manager.prepare(pod, signal);
    for (const pod of pods)
      assert.deepEqual(manager.devicesOf(pod, pod.spec.containers[0] ?? container('')), [`${driver}/gadget=d0`]);
    assert.deepEqual(
      [...manager.inUse()],
      [
        ['<any>', 1],
        [driver, 1],
      ],
    );
    await manager.unprepare('a', signal);
    assert.deepEqual(calls, ['prepare shared']);
    await manager.unprepare('b', signal);
    await manager.unprepare('b', signal);
    assert.deepEqual(calls, ['prepare shared', 'unprepare shared']);
    assert.deepEqual([...manager.inUse()], [['<any>', 0]]);
  });

  it('give each container the devices of its request, those with admin access as any other', async (t) => {
    const results = [
      { request: 'main', device: 'd0' },
      { request: 'watch', device: 'd1', adminAccess: true },
    ];
    const { manager } = await open(t, { claims: [claimOf('two', results, ['a'])] });
    const containers = [
      using('one', { name: 'g', request: 'main' }),
      using('all', { name: 'g' }),
      using('eye', { name: 'g', request: 'watch' }),
    ];
    const pod = userOf('a', { g: 'two' }, containers);
    await manager.prepare(pod, signal);
    assert.deepEqual(
      containers.map((item) => manager.devicesOf(pod, item).map((id) => id.split('=')[1])),
      [['d0'], ['d0', 'd1'], ['d1']],
    );
  });

  it('are refused to pods for which they are not reserved, and to any before they are allocated', async (t) => {
    const unallocated = { ...claimOf('none', [], ['a']), status: {} };
    const { manager } = await open(t, { claims: [claimOf('theirs', [], ['other']), unallocated] });
    await assert.rejects(manager.prepare(userOf('a', { g: 'theirs' }, []), signal), {
      message: 'pod a (a) is not allowed to use resource claim theirs (theirs-uid)',
    });
    await assert.rejects(manager.prepare(userOf('a', { g: 'none' }, []), signal), /claim none is not allocated/);
  });

  it('are tried again after the driver failed, at their start and at their end', async (t) => {
    const fails = (call: number) => (call === 1 || call === 3 ? 'busy' : undefined);
    const { manager, calls, operations } = await open(t, {
      claims: [claimOf('g', [{ request: 'r', device: 'd0' }], ['a'])],
      fails,
    });
    const pod = userOf('a', { g: 'g' }, [using('c', { name: 'g' })]);
    await assert.rejects(manager.prepare(pod, signal), /NodePrepareResources failed for claim shop\/g: busy/);
    await manager.prepare(pod, signal);
    await assert.rejects(manager.unprepare('a', signal), /busy/);
    await manager.unprepare('a', signal);
    assert.deepEqual(calls, ['prepare g', 'prepare g', 'unprepare g', 'unprepare g']);
    assert.deepEqual(operations, [
      ['PrepareResources', true],
      ['PrepareResources', false],
      ['UnprepareResources', true],
      ['UnprepareResources', false],
    ]);
  });

  it('outlive a restart of the agent, also while their driver is away', async (t) => {
    const claims = [claimOf('g', [{ request: 'r', device: 'd0' }], ['a'])];
    const pod = userOf('a', { g: 'g' }, [using('c', { name: 'g' })]);
    const first = await open(t, { claims });
    await first.manager.prepare(pod, signal);
    const again = await open(t, { claims, rootDir: first.directory });
    again.drivers.pop();
    await again.manager.prepare(pod, signal);
    assert.deepEqual(again.manager.devicesOf(pod, pod.spec.containers[0] ?? container('')), [`${driver}/gadget=d0`]);
    await assert.rejects(again.manager.unprepare('a', signal), new RegExp(`DRA driver ${driver} is not registered`));
    again.drivers.push(driver);
    await again.manager.unprepare('a', signal);
    assert.deepEqual(again.calls, ['unprepare g']);
  });

  it('go on without a damaged checkpoint, which is put aside', async (t) => {
    const first = await open(t, { claims: [claimOf('g', [{ request: 'r', device: 'd0' }], ['a'])] });
    const pod = userOf('a', { g: 'g' }, [using('c', { name: 'g' })]);
    await first.manager.prepare(pod, signal);
    const damaged = readFileSync(first.path, 'utf8').replace('d0', 'd1');
    writeFileSync(first.path, damaged);
    const again = await open(t, { rootDir: first.directory });
    assert.deepEqual([...again.manager.inUse()], [['<any>', 0]]);
    assert.equal(existsSync(first.path), false);
    assert.equal(readFileSync(`${first.path}.damaged`, 'utf8'), damaged);
  });

  it('stand behind extended resources, for the containers that ask for them', async (t) => {
    const results = [
      { request: 'container-0-request-0', device: 'd0' },
      { request: 'container-1-request-0', device: 'd1' },
    ];
    const { manager, calls } = await open(t, { claims: [claimOf('made', results, ['a'])] });
    const resource = 'example.com/gadget';
    const asking = (name: string) =>
      container(name, { resources: { requests: { [resource]: '1' }, limits: { [resource]: '1' } } });
    const mapping = (containerName: string, requestName: string) => ({
      containerName,
      resourceName: resource,
      requestName,
    });
    const pod = userOf('a', {}, [asking('one'), asking('two'), container('none')], {
      extendedResourceClaimStatus: {
        resourceClaimName: 'made',
        requestMappings: [mapping('one', 'container-0-request-0'), mapping('two', 'container-1-request-0')],
      },
    });
    await manager.prepare(pod, signal);
    assert.deepEqual(
      pod.spec.containers.map((item) => manager.devicesOf(pod, item).map((id) => id.split('=')[1])),
      [['d0'], ['d1'], []],
    );
    assert.deepEqual(
      pod.spec.containers.map((item) => manager.claimsOf(pod, item).length),
      [1, 1, 0],
    );
    await manager.unprepare('a', signal);
    assert.deepEqual(calls, ['prepare made', 'unprepare made']);
  });
});

describe('the health of devices', () => {
  const report = (device: string, health: HealthReport['health'], extra: Partial<HealthReport> = {}): HealthReport => ({
    pool: 'pool',
    device,
    health,
    lifetimeMs: 0,
    message: '',
    ...extra,
  });
  const device = (name: string, ids: string[] = []) => ({
    PoolName: 'pool',
    DeviceName: name,
    RequestNames: [],
    CDIDeviceIDs: ids,
  });

  it('is true for as long as the driver says, and unknown after that', async () => {
    const clock = createFakeClock(0);
    const health = createDeviceHealth(clock);
    assert.deepEqual(health.of(driver, device('d0')), { resourceID: `${driver}/pool/d0`, health: 'Unknown' });
    assert.equal(
      health.update(driver, [
        report('d0', 'Healthy'),
        report('d1', 'Unhealthy', { message: 'hot', lifetimeMs: 60_000 }),
      ]).length,
      2,
    );
    assert.deepEqual(health.of(driver, device('d1', ['x=d1'])), {
      resourceID: 'x=d1',
      health: 'Unhealthy',
      message: 'hot',
    });
    assert.deepEqual(health.update(driver, [report('d0', 'Healthy')]), []);
    await clock.advance(31_000);
    assert.deepEqual(health.expired(), [driver]);
    assert.deepEqual(health.expired(), []);
    assert.deepEqual(
      [health.of(driver, device('d0')).health, health.of(driver, device('d1')).health],
      ['Unknown', 'Unhealthy'],
    );
    assert.equal(health.clear(driver), true);
    assert.equal(health.of(driver, device('d1')).health, 'Unknown');
  });

  it('is in the status of containers, each device once', async (t) => {
    const results = [
      { request: 'main', device: 'd0' },
      { request: 'more', device: 'd1' },
    ];
    const { manager } = await open(t, { claims: [claimOf('two', results, ['a'])] });
    const one = using('one', { name: 'g', request: 'main' });
    const all = using('all', { name: 'g' });
    const pod = userOf('a', { g: 'two' }, [one, all]);
    await manager.prepare(pod, signal);
    const health = createDeviceHealth(createFakeClock(0));
    health.update(driver, [report('d0', 'Healthy')]);
    assert.deepEqual(manager.healthOf(pod, one, health.of), [
      { name: 'claim:g/main', resources: [{ resourceID: `${driver}/gadget=d0`, health: 'Healthy' }] },
    ]);
    assert.deepEqual(
      manager
        .healthOf(pod, all, health.of)
        .map(({ name, resources = [] }) => [name, resources.map((item) => item.health)]),
      [['claim:g', ['Healthy', 'Unknown']]],
    );
    assert.deepEqual(manager.usersOf(driver, { pool: 'pool', device: 'd1' }), ['a']);
    assert.deepEqual(manager.usersOf(driver, { pool: 'pool', device: 'd2' }), []);
  });
});

describe('drivers', () => {
  function openRegistry() {
    const clock = createFakeClock(0);
    const connection = Promise.withResolvers<boolean>();
    const removed: (string | undefined)[] = [];
    const changes: (number | undefined)[] = [];
    const health = createDeviceHealth(clock);
    const registry = createDriverRegistry({
      clock,
      logger,
      health,
      registered: () => undefined,
      healthChanged: (_, reports) => changes.push(reports?.length),
      removeSlices: async (name) => void removed.push(name),
      open: () => ({
        prepare: async () => [],
        unprepare: async () => undefined,
        async *watchHealth(stop) {
          yield [{ pool: 'pool', device: 'd0', health: 'Healthy', lifetimeMs: 0, message: '' }];
          await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
        },
        async *watchConnection(stop) {
          yield await connection.promise;
          await new Promise((resolve) => stop.addEventListener('abort', resolve, { once: true }));
        },
        close: () => undefined,
      }),
    });
    const facts = { name: driver, endpoint: '/e', versions: ['v1.DRAPlugin'] };
    return { clock, connection, removed, changes, health, registry, facts };
  }
  const settle = () => new Promise((resolve) => setImmediate(resolve));

  it('lose their ResourceSlices when they stay away, not when they come back in time', async () => {
    const { clock, removed, registry, facts, changes } = openRegistry();
    await registry.handler.register(facts, signal);
    await settle();
    assert.deepEqual(changes, [1]);
    await registry.handler.deregister(facts);
    assert.deepEqual(changes, [1, undefined]);
    await clock.advance(29_000);
    await registry.handler.register(facts, signal);
    await clock.advance(60_000);
    assert.deepEqual(removed, []);
    await registry.handler.deregister(facts);
    assert.throws(() => registry.clientOf(driver), /is not registered/);
    await clock.advance(30_000);
    assert.deepEqual(removed, [driver]);
    registry.close();
  });

  it('lose them also when they are registered and nobody answers', async () => {
    const { clock, removed, registry, facts, connection } = openRegistry();
    await registry.handler.register(facts, signal);
    connection.resolve(false);
    await settle();
    await clock.advance(30_000);
    assert.deepEqual(removed, [driver]);
    registry.close();
  });

  it('are refused where they speak another version', async () => {
    const { registry, facts } = openRegistry();
    await assert.rejects(
      registry.handler.register({ ...facts, versions: ['v2.DRAPlugin'] }, signal),
      /none of the versions/,
    );
  });

  it('have nothing left of them when the agent starts', async () => {
    const { removed, registry } = openRegistry();
    const stop = new AbortController();
    const running = registry.run(stop.signal);
    stop.abort();
    await running;
    assert.deepEqual(removed, [undefined]);
  });

  it('have their slices removed by node and name, again until that works', async () => {
    const clock = createFakeClock(0);
    const asked: (string | undefined)[] = [];
    const client: Pick<ApiClient, 'deleteCollection'> = {
      async deleteCollection(_, { fieldSelector }) {
        asked.push(fieldSelector);
        if (asked.length < 3) throw new Error('not yet');
      },
    };
    const done = removeResourceSlices({ client, nodeName: 'n', clock, logger }, driver, signal);
    await clock.advance(1000);
    await clock.advance(2000);
    await done;
    assert.deepEqual(asked, Array(3).fill(`spec.nodeName=n,spec.driver=${driver}`));
    const none: Pick<ApiClient, 'deleteCollection'> = {
      deleteCollection: async () => {
        throw failure(404, '', '404 page not found');
      },
    };
    await removeResourceSlices({ client: none, nodeName: 'n', clock, logger }, undefined, signal);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pino } from 'pino';
import type { Lease } from '#kube/api/generated/coordination-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { LeadershipLost, runAsLeader } from '#kube/leader-election/leader-elector.ts';
import { fakeApiClient } from '../../support/fake-api-client.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const logger = pino({ enabled: false });

/** One lease with optimistic concurrency, that can be made unreachable. */
function leaseServer() {
  let stored: Lease | undefined;
  let revision = 0;
  const state = { reachable: true };
  const reach = () => {
    if (!state.reachable) throw new Error('connect ECONNREFUSED');
  };
  const save = (lease: object) => {
    revision += 1;
    const { metadata, spec } = lease as Lease;
    stored = {
      apiVersion: 'coordination.k8s.io/v1',
      kind: 'Lease',
      metadata: { ...metadata, resourceVersion: `${revision}` },
      spec,
    };
    return stored;
  };
  const client = fakeApiClient({
    get: (async () => {
      reach();
      if (stored === undefined) throw failure(404, 'NotFound', 'no lease');
      return stored;
    }) as ApiClient['get'],
    create: (async (_, __, object) => {
      reach();
      return save(object);
    }) as ApiClient['create'],
    update: (async (_, object) => {
      reach();
      if (object.metadata.resourceVersion !== stored?.metadata.resourceVersion) throw failure(409, 'Conflict', 'late');
      return save(object);
    }) as ApiClient['update'],
  });
  return {
    client,
    state,
    holder: () => stored?.spec?.holderIdentity,
    transitions: () => stored?.spec?.leaseTransitions,
  };
}

function candidate(client: ApiClient, identity: string, clock: ReturnType<typeof createFakeClock>) {
  const stop = new AbortController();
  const log: string[] = [];
  const lead = async (signal: AbortSignal) => {
    log.push('leads');
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve()));
    log.push('stopped');
  };
  const options = { client, namespace: 'kube-system', name: 'l', identity, clock, logger, random: () => 0 };
  const done = runAsLeader(options, lead, stop.signal);
  done.catch(() => undefined);
  return { stop, log, done };
}

test('one leads, the other waits and takes over when the lease is given back', async () => {
  const clock = createFakeClock();
  const server = leaseServer();
  const a = candidate(server.client, 'a', clock);
  await clock.advance(0);
  const b = candidate(server.client, 'b', clock);
  await clock.advance(30_000);
  assert.deepEqual([a.log, b.log, server.holder()], [['leads'], [], 'a']);
  a.stop.abort();
  await clock.advance(0);
  await a.done;
  assert.equal(server.holder(), '');
  await clock.advance(3_000);
  assert.deepEqual([b.log, server.holder()], [['leads'], 'b']);
  b.stop.abort();
  await clock.advance(0);
  await b.done;
});

test('a lease that is not renewed is taken over after its duration, by the local clock', async () => {
  const clock = createFakeClock();
  const server = leaseServer();
  const spec = {
    holderIdentity: 'dead',
    leaseDurationSeconds: 15,
    renewTime: '2030-01-01T00:00:00.000000Z',
    leaseTransitions: 4,
  };
  await server.client.create({ group: '', version: '', plural: '', singular: '', kind: '', namespaced: true }, 'n', {
    metadata: { name: 'l' },
    spec,
  } as never);
  const b = candidate(server.client, 'b', clock);
  await clock.advance(14_000);
  assert.deepEqual(b.log, []);
  await clock.advance(3_000);
  assert.deepEqual([b.log, server.holder(), server.transitions()], [['leads'], 'b', 5]);
  b.stop.abort();
  await clock.advance(0);
  await b.done;
});

test('a leader that cannot renew stops in time and says so', async () => {
  const clock = createFakeClock();
  const server = leaseServer();
  const a = candidate(server.client, 'a', clock);
  await clock.advance(0);
  server.state.reachable = false;
  await clock.advance(14_000);
  assert.deepEqual(a.log, ['leads', 'stopped']);
  await assert.rejects(a.done, LeadershipLost);
});

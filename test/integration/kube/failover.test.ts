// Clients with several addresses of one cluster, against a real control plane behind two relays.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import type { ConfigMap } from '#kube/api/generated/core-v1.ts';
import { configmaps, leases } from '#kube/api/generated/resources.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { eventually } from '../../support/eventually.ts';
import { startControlPlane, type TestControlPlane } from '../../support/start-control-plane.ts';
import { startTcpRelay, type TcpRelay } from '../../support/tcp-relay.ts';

const logger = pino({ level: 'silent' });

describe('clients with two API servers', { timeout: 120_000 }, () => {
  let plane: TestControlPlane;
  let port = 0;

  before(async () => {
    plane = await startControlPlane();
    const [server = ''] = configOf().servers;
    port = Number(new URL(server).port);
  });
  after(async () => {
    await plane?.stop();
  });

  const configOf = () => loadClientConfig({ exec: systemExec, clock: systemClock, env: {} }, plane.kubeconfig);
  const through = (...relays: TcpRelay[]) => ({
    ...configOf(),
    servers: relays.map((relay) => `https://127.0.0.1:${relay.port}`),
  });
  const put = (name: string) => plane.client.create(configmaps, 'default', { metadata: { name } });

  it('go on with the other one when the first dies, watches included', async () => {
    await using second = await startTcpRelay('127.0.0.1', port);
    const first = await startTcpRelay('127.0.0.1', port);
    const client = createClient(through(first, second));
    const stop = new AbortController();
    const seen = createInformer<ConfigMap>({
      client,
      clock: systemClock,
      logger,
      resource: configmaps,
      namespace: 'default',
    });
    const running = seen.run(stop.signal);
    try {
      await put('before');
      await eventually('the first object', async () => seen.get('default/before'));
      assert.equal(second.connections(), 0);
      await first[Symbol.asyncDispose]();
      await put('after');
      await eventually('an object after the failure', async () => seen.get('default/after'));
      await client.create(configmaps, 'default', { metadata: { name: 'written' } });
      assert.ok(seen.get('default/before'));
    } finally {
      stop.abort();
      await running;
      await client.close();
    }
  });

  it('use no connection again on which a call got no answer', async () => {
    await using relay = await startTcpRelay('127.0.0.1', port);
    const client = createClient(through(relay));
    try {
      const renew = () => client.list(leases, { namespace: 'kube-node-lease', timeoutMs: 1000 });
      await renew();
      const dead = relay.connections();
      relay.forgetConnections();
      const failures: unknown[] = [];
      for (let call = 0; call < dead + 3; call += 1) await renew().catch((error: unknown) => failures.push(error));
      assert.ok(failures.length <= dead, `${failures.length} calls failed on ${dead} dead connections`);
      assert.ok(relay.connections() > dead);
    } finally {
      await client.close();
    }
  });

  it('go on with the other one when the first falls silent', async () => {
    await using first = await startTcpRelay('127.0.0.1', port);
    await using second = await startTcpRelay('127.0.0.1', port);
    const client = createClient(through(first, second));
    try {
      const renew = () => client.list(leases, { namespace: 'kube-node-lease', timeoutMs: 1000 });
      await renew();
      first.fallSilent();
      await assert.rejects(renew(), { name: 'TimeoutError' });
      await renew();
      assert.ok(second.connections() > 0);
    } finally {
      await client.close();
    }
  });

  it('start with the other one when the first is not there at all', async () => {
    await using second = await startTcpRelay('127.0.0.1', port);
    const gone = await startTcpRelay('127.0.0.1', port);
    await gone[Symbol.asyncDispose]();
    const client = createClient(through(gone, second));
    try {
      await client.create(configmaps, 'default', { metadata: { name: 'from-the-start' } });
    } finally {
      await client.close();
    }
  });
});

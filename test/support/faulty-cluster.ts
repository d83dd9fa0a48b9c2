// An API server with nodes that have no containers, and controllers whose clients fail, that are killed and started again.
import { pino } from 'pino';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { systemClock } from '#kube/process/clock.ts';
import { parseControlPlaneConfig } from '../../control-plane-lite/config.ts';
import { createControllers } from '../../control-plane-lite/controllers/wiring.ts';
import { createInProcessClients } from '../../control-plane-lite/in-process-clients.ts';
import { startApiServer } from '../integration/apiserver/start-api-server.ts';
import { eventually } from './eventually.ts';
import { runFakeAgent } from './fake-agent.ts';
import { createFaultyClient, type Faults, type FaultyClient } from './faulty-client.ts';

export interface FaultyCluster {
  /** Without faults, as administrator. */
  client: ApiClient;
  faults: Faults;
  /** Kills the controllers in the middle of what they do, and starts others. */
  restart(): Promise<void>;
  close(): Promise<void>;
}

/** Numbers of a seed (mulberry32). */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Starts it with two nodes. */
export async function startFaultyCluster(random: () => number, rate: number): Promise<FaultyCluster> {
  const server = await startApiServer();
  const logger = pino({ level: process.env['TEST_LOG'] ?? 'silent' }, pino.destination(2));
  const base = `https://127.0.0.1:${server.port}`;
  const inner = createInProcessClients(base, { ...server.pki, controllerManager: server.pki.admin }, systemClock);
  const client = inner.controllerManager;
  const stop = new AbortController();
  const { config } = parseControlPlaneConfig([]);
  const faults: Faults = { random, rate, lost: new Map() };
  const names = ['n1', 'n2'];
  const agents = names.map((nodeName) => runFakeAgent({ client, nodeName, logger }, stop.signal));

  // In place of a scheduler: nodes in turn.
  const waiting = createInformer({ client, resource: pods, clock: systemClock, logger });
  let turn = 0;
  waiting.subscribe({
    added: (pod) => {
      if ((pod.spec?.nodeName ?? '') !== '') return;
      const { namespace, name } = pod.metadata;
      const target = { apiVersion: 'v1', kind: 'Node', name: names[turn++ % names.length] ?? '' };
      const body = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name }, target };
      client.createSubresource(pods, { namespace, name }, 'binding', body).catch((error: unknown) => {
        if (!isNotFound(error) && !isConflict(error) && !stop.signal.aborted) throw error;
      });
    },
  });
  const binding = waiting.run(stop.signal);

  let current: { end(): Promise<void> };
  function startControllers(): void {
    const ended = new AbortController();
    const made: FaultyClient[] = [];
    const clients = createInProcessClients(base, server.pki, systemClock);
    const wrap = (own: ApiClient): ApiClient => {
      const faulty = createFaultyClient(own, faults);
      made.push(faulty);
      return faulty.client;
    };
    const controllers = createControllers({
      sharedClient: wrap(clients.controllerManager),
      clientFor: (name) => wrap(clients.forController(name)),
      logger,
      clock: systemClock,
      rootCaPem: server.pki.ca.certPem,
      clusterCidr: config.clusterCidr,
      settings: config.controllers,
    });
    const running = controllers.run(ended.signal).catch(() => undefined);
    current = {
      end: async () => {
        for (const { kill } of made) kill();
        ended.abort(new Error('killed'));
        await running;
        await clients.close();
      },
    };
  }
  startControllers();
  await eventually('the nodes are usable', async () => {
    const { items } = await client.list(nodes);
    return items.length === names.length && items.every(({ spec }) => (spec?.taints ?? []).length === 0);
  });

  return {
    client,
    faults,
    restart: async () => {
      await current.end();
      startControllers();
    },
    close: async () => {
      stop.abort();
      await current.end();
      await Promise.all([...agents, binding]).catch(() => undefined);
      await inner.close();
      await server.close();
    },
  };
}

// Constructs the scheduler with its informers and its list of plugins.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import { namespaces, nodes, pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createEventRecorder } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import type { Plugin } from './framework/plugin.ts';
import { groupSpread } from './plugins/group-spread.ts';
import { nodeAffinity, nodeName, nodeUnschedulable, taintToleration } from './plugins/node-constraints.ts';
import { nodePorts } from './plugins/node-ports.ts';
import { nodeResourcesBalanced, nodeResourcesFit } from './plugins/node-resources.ts';
import { runScheduler } from './scheduler.ts';
import { createSchedulerMetrics } from './scheduler-metrics.ts';

export interface SchedulerDeps {
  /** Identifies as system:kube-scheduler. */
  client: ApiClient;
  logger: Logger;
  clock: Clock;
  /** Where the scheduler's metrics are registered. */
  registry?: Registry;
  random?: () => number;
}

const schedulerName = 'default-scheduler';

/** In the order in which refusals are reported. */
export const defaultPlugins: readonly Plugin[] = [
  nodeUnschedulable,
  nodeName,
  taintToleration,
  nodeAffinity,
  nodePorts,
  nodeResourcesFit,
  nodeResourcesBalanced,
  groupSpread,
];

/** Nothing is started before `run`. */
export function createScheduler(deps: SchedulerDeps): Component {
  const { client, clock, random = Math.random } = deps;
  const logger = deps.logger.child({ component: 'scheduler' });
  const base = { client, clock, logger };
  const informers = {
    pods: createInformer({ ...base, resource: pods, fieldSelector: 'status.phase!=Succeeded,status.phase!=Failed' }),
    nodes: createInformer({ ...base, resource: nodes }),
    namespaces: createInformer({ ...base, resource: namespaces }),
  };
  const ended = new AbortController();
  const recorder = createEventRecorder({ ...base, component: schedulerName, host: '', signal: ended.signal });

  const metrics = createSchedulerMetrics(deps.registry);
  const ready = Promise.withResolvers<void>();

  async function runWhenSynced(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve(), { once: true });
    const synced = Promise.all([informers.pods.synced, informers.nodes.synced, informers.namespaces.synced]);
    await Promise.race([synced, aborted.promise]);
    if (signal.aborted) return;
    ready.resolve();
    await runScheduler(
      { schedulerName, ...base, ...informers, plugins: defaultPlugins, recorder, random, metrics },
      signal,
    );
  }

  return {
    ready: ready.promise,
    run: async (signal) => {
      try {
        await runGroup([informers.pods, informers.nodes, informers.namespaces, { run: runWhenSynced }], signal);
      } finally {
        ended.abort();
      }
    },
  };
}

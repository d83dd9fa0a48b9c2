// Constructs the scheduler with its informers and its list of plugins.
import type { Logger } from 'pino';
import type { Registry } from 'prom-client';
import type { Namespace, Node, Pod } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createEventRecorder } from '#kube/events/event-recorder.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import { defaultSchedulerConfig, type SchedulerConfig } from './profile/scheduler-config.ts';
import { runScheduler } from './scheduler.ts';
import { createSchedulerMetrics } from './scheduler-metrics.ts';
import type { StorageInformers } from './volumes/storage-view.ts';

export interface SchedulerDeps {
  /** Identifies as system:kube-scheduler. */
  client: ApiClient;
  logger: Logger;
  clock: Clock;
  /** Where the scheduler's metrics are registered. */
  registry?: Registry;
  random?: () => number;
  /** Profiles and times; upstream's defaults where absent. */
  config?: SchedulerConfig;
  /** Informers that run anyway and see every object; without them the scheduler runs its own. */
  informers?: SchedulerInformers;
}

/** What the scheduler looks at. */
export interface SchedulerInformers extends StorageInformers {
  pods: Informer<Pod>;
  nodes: Informer<Node>;
  namespaces: Informer<Namespace>;
}

const unfinishedPods = 'status.phase!=Succeeded,status.phase!=Failed';

function createOwnInformers(base: { client: ApiClient; clock: Clock; logger: Logger }): SchedulerInformers {
  return {
    pods: createInformer({ ...base, resource: resources.pods, fieldSelector: unfinishedPods }),
    nodes: createInformer({ ...base, resource: resources.nodes }),
    namespaces: createInformer({ ...base, resource: resources.namespaces }),
    persistentvolumeclaims: createInformer({ ...base, resource: resources.persistentvolumeclaims }),
    persistentvolumes: createInformer({ ...base, resource: resources.persistentvolumes }),
    storageclasses: createInformer({ ...base, resource: resources.storageclasses }),
    csinodes: createInformer({ ...base, resource: resources.csinodes }),
  };
}

/** Nothing is started before `run`. */
export function createScheduler(deps: SchedulerDeps): Component {
  const { client, clock, random = Math.random, config = defaultSchedulerConfig } = deps;
  const logger = deps.logger.child({ component: 'scheduler' });
  const base = { client, clock, logger };
  const informers = deps.informers ?? createOwnInformers(base);
  const { pods, nodes, namespaces, persistentvolumeclaims, persistentvolumes, storageclasses, csinodes } = informers;
  const storage = { persistentvolumeclaims, persistentvolumes, storageclasses, csinodes };
  const used = [pods, nodes, namespaces, ...Object.values(storage)];
  const budgets = createInformer({ ...base, resource: resources.poddisruptionbudgets });
  const devices = {
    resourceclaims: createInformer({ ...base, resource: resources.resourceclaims }),
    deviceclasses: createInformer({ ...base, resource: resources.deviceclasses }),
    resourceslices: createInformer({ ...base, resource: resources.resourceslices }),
  };
  const alwaysOwn = [budgets, ...Object.values(devices)];
  const ownInformers = [...alwaysOwn, ...(deps.informers === undefined ? used : [])];
  const ended = new AbortController();
  const recorderFor = (component: string) =>
    createEventRecorder({ ...base, component, host: '', signal: ended.signal });
  const metrics = createSchedulerMetrics(deps.registry);
  const ready = Promise.withResolvers<void>();

  async function runWhenSynced(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve(), { once: true });
    const synced = Promise.all([...alwaysOwn, ...used].map(({ synced: first }) => first));
    await Promise.race([synced, aborted.promise]);
    if (signal.aborted) return;
    ready.resolve();
    await runScheduler(
      { ...config, ...base, pods, nodes, namespaces, budgets, storage, devices, recorderFor, random, metrics },
      signal,
    );
  }

  return {
    ready: ready.promise,
    run: async (signal) => {
      try {
        await runGroup([...ownInformers, { run: runWhenSynced }], signal);
      } finally {
        ended.abort();
      }
    },
  };
}

// A tiny API for the scheduler that can go wrong: calls fail before or after they were done, events come late, the
// scheduler is killed and another one starts. It refuses what the real one refuses, and checks what must never happen.
import { pino } from 'pino';
import type { Namespace, Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import type { DeviceClass, ResourceClaim, ResourceSlice } from '#kube/api/generated/resource-v1.ts';
import type { CSINode, StorageClass } from '#kube/api/generated/storage-v1.ts';
import { amountsOf, podRequests } from '#kube/api/pod-resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { defaultSchedulerConfig } from '../../control-plane-lite/scheduler/profile/scheduler-config.ts';
import { runScheduler } from '../../control-plane-lite/scheduler/scheduler.ts';
import { createSchedulerMetrics } from '../../control-plane-lite/scheduler/scheduler-metrics.ts';
import { fakeApiClient } from './fake-api-client.ts';
import type { FakeClock } from './fake-clock.ts';
import { createHandFedInformer, type HandFedInformer } from './hand-fed-informer.ts';

export interface SchedulingWorld {
  readonly pods: ReadonlyMap<string, Pod>;
  readonly nodes: ReadonlyMap<string, Node>;
  /** From none (0) to every call (1) goes wrong. */
  faults: number;
  setNode(node: Node): void;
  deleteNode(name: string): void;
  setPod(pod: Pod): void;
  /** As a user deletes: placed pods wait for `finish`. */
  deletePod(name: string): void;
  /** Pods on their way out are gone. */
  finish(): void;
  /** Shows the scheduler some of what happened, in order; everything where no count is given. */
  deliver(count?: number): void;
  /** Ends the scheduler in the middle of whatever it does, and starts another one. */
  restart(): Promise<void>;
  stop(): Promise<void>;
  bindings: number;
  /** What should never have happened. */
  readonly broken: string[];
}

interface Running {
  abort: AbortController;
  done: Promise<void>;
  pods: HandFedInformer<Pod>;
  nodes: HandFedInformer<Node>;
  late: (() => void)[];
}

const silent = pino({ level: 'silent' });

/** `random` decides what goes wrong. */
export function createSchedulingWorld(clock: FakeClock, random: () => number): SchedulingWorld {
  const pods = new Map<string, Pod>();
  const nodes = new Map<string, Node>();
  let running: Running | undefined;
  let version = 1;

  const late = (show: (to: Running) => void) => {
    const to = running;
    to?.late.push(() => show(to));
  };

  function store(pod: Pod): void {
    version += 1;
    const saved = { ...pod, metadata: { ...pod.metadata, resourceVersion: `${version}` } };
    pods.set(pod.metadata.name, saved);
    late((to) => to.pods.show(saved));
  }

  function remove(name: string): void {
    const pod = pods.get(name);
    if (pod === undefined) return;
    pods.delete(name);
    late((to) => to.pods.remove(pod));
  }

  function find(name: string, uid?: string): Pod {
    const pod = pods.get(name);
    if (pod === undefined) throw failure(404, 'NotFound', `pods "${name}" not found`);
    if (uid !== undefined && pod.metadata.uid !== uid) throw failure(409, 'Conflict', 'Precondition failed: UID');
    return pod;
  }

  /** No node may hold more than it has. */
  function checkRoom(name: string): void {
    const used = new Map<string, number>();
    for (const pod of pods.values()) {
      if (pod.spec?.nodeName !== name) continue;
      for (const [resource, amount] of [...podRequests(pod), ['pods', 1] as const]) {
        used.set(resource, (used.get(resource) ?? 0) + amount);
      }
    }
    const there = [...pods.values()].filter(({ spec }) => spec?.nodeName === name);
    const alone = there.find(({ spec }) => spec?.affinity?.podAntiAffinity !== undefined);
    if (alone !== undefined && there.length > 1) world.broken.push(`${alone.metadata.name} is not alone on ${name}`);
    for (const [resource, amount] of amountsOf(nodes.get(name)?.status?.allocatable)) {
      if ((used.get(resource) ?? 0) > amount)
        world.broken.push(`${name} holds ${used.get(resource)} of ${amount} ${resource}`);
    }
  }

  /** Does the work, unless something goes wrong before or after. */
  async function perform<R>(of: AbortSignal, work: () => R): Promise<R> {
    await new Promise<void>((resolve) => setImmediate(resolve));
    of.throwIfAborted();
    const luck = random() / Math.max(world.faults, 1e-9);
    if (luck < 0.3) throw failure(500, 'InternalError', 'etcd has a bad day');
    if (luck < 0.5) throw new Error('socket hang up');
    if (luck < 0.6) throw failure(429, 'TooManyRequests', 'try again');
    const result = work();
    // Done, and nobody is told.
    if (luck < 1) throw new Error('the connection was cut');
    return result;
  }

  function clientFor(signal: AbortSignal): ApiClient {
    const calls = {
      createSubresource: (_: unknown, { name }: { name: string }, __: string, body: unknown) =>
        perform(signal, () => {
          const { metadata, target } = body as { metadata: { uid: string }; target: { name: string } };
          const pod = find(name, metadata.uid);
          if (pod.metadata.deletionTimestamp !== undefined) throw failure(409, 'Conflict', 'is being deleted');
          if ((pod.spec?.nodeName ?? '') !== '') throw failure(409, 'Conflict', 'is already assigned');
          const { nominatedNodeName: _nominated, ...status } = pod.status ?? {};
          world.bindings += 1;
          store({ ...pod, spec: { ...(pod.spec ?? { containers: [] }), nodeName: target.name }, status });
          checkRoom(target.name);
          return {};
        }),
      get: (_: unknown, { name }: { name: string }) => perform(signal, () => find(name)),
      patch: (_: unknown, { name }: { name: string }, __: string, patch: unknown) =>
        perform(signal, () => {
          const { metadata, status } = patch as { metadata?: { uid?: string }; status: Pod['status'] };
          const pod = find(name, metadata?.uid);
          const { nominatedNodeName = pod.status?.nominatedNodeName, ...rest } = status ?? {};
          const others = (pod.status?.conditions ?? []).filter(
            ({ type }) => !(rest.conditions ?? []).some((condition) => condition.type === type),
          );
          const conditions = [...others, ...(rest.conditions ?? [])];
          const nominated = nominatedNodeName === undefined || nominatedNodeName === null ? {} : { nominatedNodeName };
          const { nominatedNodeName: _old, ...before } = pod.status ?? {};
          store({ ...pod, status: { ...before, conditions, ...nominated } });
          return pod;
        }),
      delete: (_: unknown, { name }: { name: string }, body?: { preconditions?: { uid?: string } }) =>
        perform(signal, () => {
          find(name, body?.preconditions?.uid);
          world.deletePod(name);
        }),
    };
    // Each call answers what the scheduler asks of it, whatever the resource's type.
    return fakeApiClient(calls as unknown as Partial<ApiClient>);
  }

  function start(): Running {
    const abort = new AbortController();
    const created = {
      abort,
      pods: createHandFedInformer<Pod>(),
      nodes: createHandFedInformer<Node>(),
      late: [],
    };
    for (const node of nodes.values()) created.nodes.show(node);
    for (const pod of pods.values()) created.pods.show(pod);
    const storage = {
      persistentvolumeclaims: createHandFedInformer<PersistentVolumeClaim>().informer,
      persistentvolumes: createHandFedInformer<PersistentVolume>().informer,
      storageclasses: createHandFedInformer<StorageClass>().informer,
      csinodes: createHandFedInformer<CSINode>().informer,
    };
    const done = runScheduler(
      {
        ...defaultSchedulerConfig,
        client: clientFor(abort.signal),
        pods: created.pods.informer,
        nodes: created.nodes.informer,
        namespaces: createHandFedInformer<Namespace>().informer,
        budgets: createHandFedInformer<PodDisruptionBudget>().informer,
        storage,
        devices: {
          resourceclaims: createHandFedInformer<ResourceClaim>().informer,
          deviceclasses: createHandFedInformer<DeviceClass>().informer,
          resourceslices: createHandFedInformer<ResourceSlice>().informer,
        },
        recorderFor: () => ({ event: () => undefined, flushed: async () => undefined }),
        clock,
        logger: silent,
        random,
        metrics: createSchedulerMetrics(undefined),
      },
      abort.signal,
    );
    return { ...created, done };
  }

  const world: SchedulingWorld = {
    pods,
    nodes,
    faults: 0,
    bindings: 0,
    broken: [],
    setNode(node) {
      nodes.set(node.metadata.name, node);
      late((to) => to.nodes.show(node));
    },
    deleteNode(name) {
      const node = nodes.get(name);
      if (node === undefined) return;
      nodes.delete(name);
      late((to) => to.nodes.remove(node));
      for (const pod of [...pods.values()]) if (pod.spec?.nodeName === name) remove(pod.metadata.name);
    },
    setPod: store,
    deletePod(name) {
      const pod = pods.get(name);
      if (pod === undefined) return;
      if ((pod.spec?.nodeName ?? '') === '') remove(name);
      else store({ ...pod, metadata: { ...pod.metadata, deletionTimestamp: '2026-01-01T00:00:00Z' } });
    },
    finish() {
      for (const { metadata } of [...pods.values()]) {
        if (metadata.deletionTimestamp !== undefined) remove(metadata.name);
      }
    },
    deliver(count = Number.POSITIVE_INFINITY) {
      for (let index = 0; index < count; index += 1) {
        const show = running?.late.shift();
        if (show === undefined) return;
        show();
      }
    },
    async restart() {
      await world.stop();
      running = start();
    },
    async stop() {
      running?.abort.abort(new Error('killed'));
      await running?.done;
      running = undefined;
    },
  };
  return world;
}

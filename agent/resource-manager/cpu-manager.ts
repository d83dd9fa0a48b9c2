// Processors for containers that ask for whole ones in guaranteed pods; all others share the rest, which is kept so as
// it shrinks and grows (pkg/kubelet/cm/cpumanager: policy static).
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { CheckpointError } from '../allocation/checkpoint.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { checkCpuState, stateError } from './check-cpu-state.ts';
import type { CpuPolicyOptions } from './cpu-policy-options.ts';
import { formatCpuSet, parseCpuSet, without } from './cpu-set.ts';
import { readCpuState, writeCpuState } from './cpu-state.ts';
import type { CpuTopology } from './cpu-topology.ts';
import type { HintProvider } from './hint-provider.ts';
import {
  type CpuSupply,
  checkWholeCores,
  cpuHints,
  cpusInNodes,
  exclusiveCount,
  nodesOfSockets,
  podExclusiveCount,
} from './plan-cpus.ts';
import { takeCpus } from './take-cpus.ts';
import type { ResourceHints, TopologyHint } from './topology-hint.ts';

export interface CpuManagerOptions {
  rootDir: string;
  policy: 'none' | 'static';
  options: CpuPolicyOptions;
  /** reservedSystemCPUs. */
  reservedCpus: string;
  /** Of systemReserved and kubeReserved, in thousandths. */
  reservedMilli: number;
  topology: CpuTopology;
  runtime: Pick<RuntimeService, 'updateContainerResources'>;
  runtimes(): readonly PodRuntime[];
  reconcileMs: number;
  /** Told each request for processors of a container's own, and whether it failed. */
  observe?(failed: boolean): void;
  clock: Clock;
  logger: Logger;
}

export interface CpuManager extends HintProvider {
  /** The container's processors as a list; undefined: any. */
  cpusOf(podUid: string, container: string): string | undefined;
  /** Those it has for itself. */
  exclusiveOf(podUid: string, container: string): number[];
  /** Those that could be given away. */
  assignable(): number[];
  run(signal: AbortSignal): Promise<void>;
}

/** Opens the manager. Throws UsageError for a policy that cannot work here. */
export async function createCpuManager(options: CpuManagerOptions): Promise<CpuManager> {
  const { topology, logger, clock, options: own } = options;
  const isStatic = options.policy === 'static';
  const path = join(options.rootDir, 'cpu_manager_state');
  const all = new Set(topology.cpus.map(({ id }) => id));

  function reservedOf(): Set<number> {
    if (!isStatic) return new Set();
    if (options.reservedCpus !== '') return parseCpuSet(options.reservedCpus);
    const count = Math.ceil(options.reservedMilli / 1000);
    if (count === 0) {
      throw new UsageError(
        '[cpumanager] the static policy requires systemreserved.cpu + kubereserved.cpu to be greater than zero',
      );
    }
    if (count > all.size) {
      throw new UsageError(
        `[cpumanager] unable to reserve the required amount of CPUs (size of ${formatCpuSet(all)} did not equal ${count})`,
      );
    }
    return new Set(takeCpus(topology.cpus, all, count, {}));
  }

  const reserved = reservedOf();
  const usable = own.strictReservation ? without(all, reserved) : all;
  const state = await readCpuState(path).catch((error: unknown) => {
    throw error instanceof CheckpointError ? stateError(error.message, path, error) : error;
  });
  if (state !== undefined) {
    checkCpuState(state, path, { policy: options.policy, all, reserved, strict: own.strictReservation });
  }
  const entries = new Map([...(state?.entries ?? [])].map(([uid, cpus]) => [uid, new Map(cpus)]));
  /** What the containers of the shared pool were last set to, by id. */
  const applied = new Map<string, string>();

  const assigned = () =>
    new Set([...entries.values()].flatMap((own) => [...own.values()].flatMap((cpus) => [...cpus])));
  const shared = () => without(usable, assigned());
  const save = () => writeCpuState(path, { policy: options.policy, shared: isStatic ? shared() : new Set(), entries });
  await save();

  /** Of init containers that are over when this one runs. */
  function reusable(pod: Pod, container: Container): Set<number> {
    const own = entries.get(pod.metadata.uid ?? '');
    const cpus = new Set<number>();
    for (const init of pod.spec.initContainers ?? []) {
      if (init.name === container.name) break;
      if (!isSidecar(init)) for (const cpu of own?.get(init.name) ?? []) cpus.add(cpu);
    }
    const taken = new Set(
      [...pod.spec.containers, ...(pod.spec.initContainers ?? []).filter(isSidecar)]
        .filter(({ name }) => name !== container.name)
        .flatMap(({ name }) => [...(own?.get(name) ?? [])]),
    );
    return without(cpus, taken);
  }

  const freeFor = (reuse: ReadonlySet<number>) => new Set([...without(shared(), reserved), ...reuse]);

  function choose(count: number, free: ReadonlySet<number>, hint: TopologyHint): Set<number> {
    if (hint.nodes === undefined) return new Set(takeCpus(topology.cpus, free, count, own));
    const nodes = own.alignBySocket ? nodesOfSockets(topology, hint.nodes) : hint.nodes;
    const aligned = cpusInNodes(topology, free, nodes);
    const near = new Set(takeCpus(topology.cpus, aligned, Math.min(count, aligned.size), own));
    if (near.size === count) return near;
    return new Set([...near, ...takeCpus(topology.cpus, without(free, near), count - near.size, own)]);
  }

  const hintsFor = (supply: CpuSupply, count: number): ResourceHints =>
    new Map([['cpu', cpuHints(topology, supply, count, own)]]);
  /** A preference that nothing can satisfy. */
  const impossible: ResourceHints = new Map([['cpu', []]]);
  const countFor = (pod: Pod, container: Container) => (isStatic ? exclusiveCount(pod, container) : 0);

  async function give(pod: Pod, container: Container, count: number, hint: TopologyHint): Promise<void> {
    const uid = pod.metadata.uid ?? '';
    if (entries.get(uid)?.has(container.name) === true) return;
    const free = freeFor(reusable(pod, container));
    if (own.wholeCores) checkWholeCores(topology, free, count);
    const cpus = entries.get(uid) ?? new Map<string, ReadonlySet<number>>();
    cpus.set(container.name, choose(count, free, hint));
    entries.set(uid, cpus);
    await save();
  }

  async function reconcile(signal: AbortSignal): Promise<void> {
    const present = new Set<string>();
    for (const { uid, containers } of options.runtimes()) {
      for (const { id, name, state: now } of containers) {
        if (now !== 'running') continue;
        present.add(id);
        const cpus = formatCpuSet(entries.get(uid)?.get(name) ?? shared());
        if (applied.get(id) === cpus) continue;
        await options.runtime.updateContainerResources(id, { cpusetCpus: cpus }, signal);
        applied.set(id, cpus);
      }
    }
    for (const id of applied.keys()) if (!present.has(id)) applied.delete(id);
  }

  return {
    hints(pod, container) {
      const count = countFor(pod, container);
      if (count === 0) return new Map();
      const has = entries.get(pod.metadata.uid ?? '')?.get(container.name);
      if (has === undefined) {
        return hintsFor({ available: freeFor(new Set()), reusable: reusable(pod, container) }, count);
      }
      return has.size === count ? hintsFor({ available: has, reusable: new Set() }, count) : impossible;
    },
    podHints(pod) {
      const count = isStatic ? podExclusiveCount(pod) : 0;
      if (count === 0) return new Map();
      const has = new Set<number>();
      for (const container of [...(pod.spec.initContainers ?? []), ...pod.spec.containers]) {
        const cpus = entries.get(pod.metadata.uid ?? '')?.get(container.name);
        if (cpus === undefined) continue;
        if (cpus.size !== exclusiveCount(pod, container)) return impossible;
        for (const cpu of cpus) has.add(cpu);
      }
      if (has.size === count) return hintsFor({ available: has, reusable: new Set() }, count);
      return hintsFor({ available: freeFor(new Set()), reusable: has }, count);
    },
    async allocate(pod, container, hint) {
      const count = countFor(pod, container);
      if (count === 0) return;
      try {
        await give(pod, container, count, hint);
        options.observe?.(false);
      } catch (error) {
        options.observe?.(true);
        throw error;
      }
    },
    retain(podUids) {
      const gone = [...entries.keys()].filter((uid) => !podUids.has(uid));
      if (gone.length === 0) return;
      for (const uid of gone) entries.delete(uid);
      save().catch((error: unknown) => logger.error({ err: error, path }, 'cannot write the state of processors'));
    },
    cpusOf: (podUid, container) =>
      isStatic ? formatCpuSet(entries.get(podUid)?.get(container) ?? shared()) : undefined,
    exclusiveOf: (podUid, container) => [...(entries.get(podUid)?.get(container) ?? [])],
    assignable: () => [...(isStatic ? without(all, reserved) : all)],
    async run(signal) {
      while (!signal.aborted) {
        await (isStatic ? reconcile(signal) : Promise.resolve()).catch((error: unknown) => {
          if (!signal.aborted) logger.warn({ err: error }, 'cannot set the processors of containers');
        });
        await clock.sleep(options.reconcileMs, signal).catch(() => undefined);
      }
    },
  };
}

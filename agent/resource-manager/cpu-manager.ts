// Processors for containers that ask for whole ones in guaranteed pods; all others share the rest, which is kept so as
// it shrinks and grows (pkg/kubelet/cm/cpumanager: policy static).
import { join } from 'node:path';
import type { Logger } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { milliValue } from '#kube/api/quantity.ts';
import type { Clock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { PodRuntime } from '../runtime-cache/pod-runtime.ts';
import { formatCpuSet, parseCpuSet, without } from './cpu-set.ts';
import { readCpuState, writeCpuState } from './cpu-state.ts';
import type { CpuTopology } from './cpu-topology.ts';
import { AllocationError, type HintProvider } from './hint-provider.ts';
import { takeCpus } from './take-cpus.ts';
import { countNodes, hintsOf, type ResourceHints, subsetsOf, type TopologyHint } from './topology-hint.ts';

export interface CpuManagerOptions {
  rootDir: string;
  policy: 'none' | 'static';
  options: Readonly<Record<string, string>>;
  /** reservedSystemCPUs. */
  reservedCpus: string;
  /** Of systemReserved and kubeReserved, in thousandths. */
  reservedMilli: number;
  topology: CpuTopology;
  runtime: Pick<RuntimeService, 'updateContainerResources'>;
  runtimes(): readonly PodRuntime[];
  reconcileMs: number;
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

const known = [
  'full-pcpus-only',
  'distribute-cpus-across-numa',
  'align-by-socket',
  'distribute-cpus-across-cores',
  'strict-cpu-reservation',
  'prefer-align-cpus-by-uncorecache',
];

/** How many processors the container is to have for itself; 0: none. */
export function exclusiveCount(pod: Pod, container: Container): number {
  if (qosClassOf(pod) !== 'Guaranteed') return 0;
  const milli = milliValue(container.resources?.requests?.['cpu'] ?? container.resources?.limits?.['cpu']);
  return milli > 0 && milli % 1000 === 0 ? milli / 1000 : 0;
}

/** Opens the manager. Throws UsageError for a policy that cannot work here. */
export async function createCpuManager(options: CpuManagerOptions): Promise<CpuManager> {
  const { topology, logger, clock } = options;
  const isStatic = options.policy === 'static';
  const path = join(options.rootDir, 'cpu_manager_state');
  for (const name of Object.keys(options.options)) {
    if (!known.includes(name)) throw new UsageError(`cpuManagerPolicyOptions: unknown option ${name}`);
  }
  const isOn = (name: string) => options.options[name] === 'true';
  const all = new Set(topology.cpus.map(({ id }) => id));
  const perCore = Math.max(...topology.cpus.map(({ core }) => topology.cpus.filter((cpu) => cpu.core === core).length));
  const taking = {
    alignUncore: isOn('prefer-align-cpus-by-uncorecache'),
    acrossCores: isOn('distribute-cpus-across-cores'),
    acrossNodes: isOn('distribute-cpus-across-numa'),
    wholeCores: isOn('full-pcpus-only'),
  };
  if (taking.wholeCores && taking.acrossCores) {
    throw new UsageError(
      'cpuManagerPolicyOptions: full-pcpus-only and distribute-cpus-across-cores exclude each other',
    );
  }

  function reservedOf(): Set<number> {
    if (!isStatic) return new Set();
    if (options.reservedCpus !== '') return parseCpuSet(options.reservedCpus);
    const count = Math.ceil(options.reservedMilli / 1000);
    if (count === 0) {
      throw new UsageError(
        'cpuManagerPolicy static needs reservedSystemCPUs, or cpu in systemReserved or kubeReserved',
      );
    }
    return new Set(takeCpus(topology.cpus, all, count, {}));
  }

  const reserved = reservedOf();
  const usable = isOn('strict-cpu-reservation') ? without(all, reserved) : all;
  const state = await readCpuState(path);
  // A change of policy is harmless while nobody has processors for himself.
  if (state !== undefined && state.policy !== options.policy && state.entries.size > 0) {
    throw new UsageError(
      `cpuManagerPolicy is ${options.policy}, but ${path} is of policy ${state.policy}: drain the node and remove that file`,
    );
  }
  const entries = new Map([...(state?.entries ?? [])].map(([uid, own]) => [uid, new Map(own)]));
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
      pod.spec.containers
        .filter(({ name }) => name !== container.name)
        .flatMap(({ name }) => [...(own?.get(name) ?? [])]),
    );
    return without(cpus, taken);
  }

  const freeFor = (reuse: ReadonlySet<number>) => new Set([...without(shared(), reserved), ...reuse]);
  const inNodes = (cpus: ReadonlySet<number>, nodes: number) =>
    new Set(topology.cpus.filter(({ id, node }) => cpus.has(id) && (nodes & (1 << node)) !== 0).map(({ id }) => id));

  /** The nodes of the hint, or the sockets they are in. */
  function alignedTo(nodes: number): number {
    if (!isOn('align-by-socket')) return nodes;
    const sockets = new Set(
      topology.cpus.filter(({ node }) => (nodes & (1 << node)) !== 0).map(({ socket }) => socket),
    );
    return topology.cpus.reduce((mask, { socket, node }) => (sockets.has(socket) ? mask | (1 << node) : mask), 0);
  }

  function checkAlignment(count: number, free: ReadonlySet<number>): void {
    if (!taking.wholeCores) return;
    if (count % perCore !== 0) {
      const text = `SMT Alignment Error: requested ${count} cpus not multiple cpus per core = ${perCore}`;
      throw new AllocationError('SMTAlignmentError', text);
    }
    const cores = new Set(topology.cpus.map(({ core }) => core));
    const whole = [...cores].filter((core) => topology.cpus.every((cpu) => cpu.core !== core || free.has(cpu.id)));
    const available = whole.length * perCore;
    if (available >= count) return;
    const text = `SMT Alignment Error: not enough free physical CPUs: available physical CPUs = ${available}, requested CPUs = ${count}, CPUs per core = ${perCore}`;
    throw new AllocationError('SMTAlignmentError', text);
  }

  function choose(count: number, free: ReadonlySet<number>, hint: TopologyHint): Set<number> {
    if (hint.nodes === undefined) return new Set(takeCpus(topology.cpus, free, count, taking));
    const aligned = inNodes(free, alignedTo(hint.nodes));
    const near = new Set(takeCpus(topology.cpus, aligned, Math.min(count, aligned.size), taking));
    if (near.size === count) return near;
    return new Set([...near, ...takeCpus(topology.cpus, without(free, near), count - near.size, taking)]);
  }

  function hintsFor(count: number, free: ReadonlySet<number>, own: ReadonlySet<number> | undefined): ResourceHints {
    if (count === 0) return new Map();
    const mask = topology.nodes.reduce((sum, { id }) => sum | (1 << id), 0);
    let narrowest = countNodes(mask);
    const sets: number[] = [];
    for (const nodes of subsetsOf(mask)) {
      if (inNodes(all, nodes).size >= count) narrowest = Math.min(narrowest, countNodes(nodes));
      const holds = own === undefined ? inNodes(free, nodes).size >= count : inNodes(own, nodes).size === own.size;
      if (holds) sets.push(nodes);
    }
    return new Map([['cpu', hintsOf(sets, narrowest)]]);
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
      const count = isStatic ? exclusiveCount(pod, container) : 0;
      const own = entries.get(pod.metadata.uid ?? '')?.get(container.name);
      return hintsFor(count, freeFor(reusable(pod, container)), own);
    },
    podHints(pod) {
      const sum = pod.spec.containers.reduce((total, container) => total + exclusiveCount(pod, container), 0);
      const most = Math.max(sum, ...(pod.spec.initContainers ?? []).map((container) => exclusiveCount(pod, container)));
      return hintsFor(isStatic ? most : 0, freeFor(new Set()), undefined);
    },
    async allocate(pod, container, hint) {
      const count = isStatic ? exclusiveCount(pod, container) : 0;
      const uid = pod.metadata.uid ?? '';
      if (count === 0 || entries.get(uid)?.has(container.name) === true) return;
      const reuse = reusable(pod, container);
      const free = freeFor(reuse);
      checkAlignment(count, free);
      const own = entries.get(uid) ?? new Map<string, ReadonlySet<number>>();
      own.set(container.name, choose(count, free, hint));
      entries.set(uid, own);
      await save();
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

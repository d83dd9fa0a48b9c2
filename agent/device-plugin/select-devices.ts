// Which devices a container gets: those of its init containers first, then those near the NUMA nodes it is to run on,
// then any (pkg/kubelet/cm/devicemanager/manager.go: devicesToAllocate). Pure.
import { countNodes, hintsOf, subsetsOf, type TopologyHint } from '../resource-manager/topology-hint.ts';

/** One device as its plugin tells it. */
export interface DeviceFacts {
  id: string;
  healthy: boolean;
  /** NUMA nodes; empty where it tells none. */
  nodes: readonly number[];
}

/** What there is to choose from. */
export interface DeviceChoice {
  devices: ReadonlyMap<string, DeviceFacts>;
  /** Ids that others have. */
  taken: ReadonlySet<string>;
  /** Ids that this container has already. */
  own: ReadonlySet<string>;
  /** Ids of init containers that have ended by then. */
  reusable: ReadonlySet<string>;
  count: number;
}

/** Free devices in groups, the best first. */
export interface DeviceCandidates {
  /** They have to be taken. */
  must: string[];
  aligned: string[];
  others: string[];
}

function nodeMask({ nodes }: DeviceFacts): number {
  return nodes.reduce((mask, node) => mask | (1 << node), 0);
}

/** Sorts what is free. Throws where it is not enough; the message is the pod's. */
export function candidates(resource: string, choice: DeviceChoice, affinity: number | undefined): DeviceCandidates {
  const { devices, taken, own, reusable, count } = choice;
  const healthy = [...devices.values()].filter((device) => device.healthy);
  const must = healthy.filter(({ id }) => own.has(id) || (reusable.has(id) && !taken.has(id)));
  const chosen = must.slice(0, count).map(({ id }) => id);
  const free = healthy.filter(({ id }) => !taken.has(id) && !own.has(id) && !chosen.includes(id));
  const needed = count - chosen.length;
  if (needed > free.length) {
    throw new Error(
      `requested number of devices unavailable for ${resource}. Requested: ${needed}, Available: ${free.length}`,
    );
  }
  const ids = (list: readonly DeviceFacts[]) => list.map(({ id }) => id).sort();
  const isNear = (device: DeviceFacts) =>
    affinity === undefined || device.nodes.length === 0 ? affinity === undefined : (nodeMask(device) & affinity) !== 0;
  // Those on as few other nodes as possible first.
  const near = free.filter(isNear);
  const spread = (device: DeviceFacts) => countNodes(nodeMask(device) & ~(affinity ?? 0));
  const aligned = [...near].sort((a, b) => spread(a) - spread(b) || (a.id < b.id ? -1 : 1)).map(({ id }) => id);
  return { must: chosen, aligned, others: ids(free.filter((device) => !isNear(device))) };
}

/** Chooses; `preferred` is the plugin's own wish, which counts as far as it can. */
export function selectDevices(found: DeviceCandidates, count: number, preferred: readonly string[]): string[] {
  const allowed = new Set(
    found.aligned.length >= count - found.must.length ? found.aligned : [...found.aligned, ...found.others],
  );
  const wished = preferred.filter((id) => allowed.has(id) && !found.must.includes(id));
  const order = new Set([...found.must, ...wished, ...found.aligned, ...found.others]);
  return [...order].slice(0, count);
}

/** Which sets of nodes have enough devices; undefined where the devices tell no nodes. */
export function deviceHints(choice: DeviceChoice, all: number): TopologyHint[] | undefined {
  const { devices, taken, own, reusable, count } = choice;
  const healthy = [...devices.values()].filter((device) => device.healthy);
  if (healthy.every(({ nodes }) => nodes.length === 0)) return undefined;
  const isFree = ({ id }: DeviceFacts) => own.has(id) || reusable.has(id) || !taken.has(id);
  const inSet = (list: readonly DeviceFacts[], mask: number) =>
    list.filter((device) => device.nodes.length > 0 && (nodeMask(device) & mask) !== 0).length;
  let narrowest = countNodes(all);
  const sets: number[] = [];
  for (const mask of subsetsOf(all)) {
    // What the machine could do at its best says how wide a set has to be.
    if (inSet(healthy, mask) >= count) narrowest = Math.min(narrowest, countNodes(mask));
    if (inSet(healthy.filter(isFree), mask) >= count) sets.push(mask);
  }
  return hintsOf(sets, narrowest);
}

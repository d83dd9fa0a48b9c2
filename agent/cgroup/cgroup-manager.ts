// The cgroups that hold pods: one for all of them, one per class, one per pod. Containers' own are the runtime's.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { type QosClass, qosClassOf } from '#kube/api/pod-qos.ts';
import type { ResourceAmounts } from '#kube/api/pod-resources.ts';
import type { CgroupFs, CgroupLimits, CgroupState } from './cgroup-fs.ts';
import {
  type CgroupDriver,
  cgroupParent,
  cgroupPath,
  parseCgroupRoot,
  podCgroup,
  podUidOfCgroup,
  qosCgroup,
} from './cgroup-names.ts';
import {
  computeBurstableShares,
  computeMemoryMin,
  computeNodeLimits,
  computePodLimits,
  computeReservedLimits,
  type LimitSettings,
} from './compute-limits.ts';

const classes: readonly QosClass[] = ['Guaranteed', 'Burstable', 'BestEffort'];

export interface CgroupManagerOptions {
  fs: CgroupFs;
  driver: CgroupDriver;
  /** cgroupRoot of the configuration. */
  root: string;
  /** cgroupsPerQOS: without it no cgroups are made and the runtime places pods. */
  perQos: boolean;
  limits: LimitSettings;
  enforceAllocatable: boolean;
  /** Whether the pod's processors are its own, so that no quota applies. */
  withoutQuota?(pod: Pod): boolean;
  /** cgroups of others that are held to what is reserved for them; they have to be there. */
  reserved?: readonly ReservedCgroup[] | undefined;
}

/** A cgroup to which something is reserved, for example that of the system's services. */
export interface ReservedCgroup {
  /** As the configuration names it, for example system.slice. */
  name: string;
  amounts: ResourceAmounts;
  /** Only the share of the processors is set. */
  compressible: boolean;
}

export interface CgroupManager {
  /** What the runtime is told as parent of the pod's containers. */
  parentOf(pod: Pod): string;
  /** The path of the pod's cgroup below the hierarchy's root. */
  pathOf(pod: Pod): string;
  /** The path of the cgroup of all pods. */
  readonly podsPath: string;
  /** The paths above single pods: of all pods, and of each class. */
  readonly groupPaths: readonly string[];
  /** `share` is what all pods together may have. Throws where a reserved cgroup is not there. */
  ensureNode(share: ResourceAmounts): Promise<void>;
  ensurePod(pod: Pod): Promise<void>;
  /** What the pod's cgroup has, and what it should have; undefined where pods have no cgroups. */
  readPod(pod: Pod): Promise<{ current: CgroupState; target: CgroupLimits } | undefined>;
  /** Sets some limits of the pod's cgroup. */
  setPod(pod: Pod, limits: CgroupLimits): Promise<void>;
  /** Bytes in use by one container, undefined where its cgroup cannot be found. */
  containerMemory(pod: Pod, containerId: string): Promise<number | undefined>;
  /** Sets the classes' shares to what the running pods ask for. */
  updateClasses(pods: readonly Pod[]): Promise<void>;
  /** Kills what is left of the pod and removes its cgroup, whatever its class. */
  removePod(podUid: string): Promise<void>;
  /** Uids of pods that have a cgroup. */
  listPods(): Promise<string[]>;
}

/** Creates the manager. */
export function createCgroupManager(options: CgroupManagerOptions): CgroupManager {
  const { fs, driver, perQos } = options;
  const root = parseCgroupRoot(options.root);
  const path = (name: readonly string[]) => cgroupPath(name, driver);
  const nameOf = (pod: Pod) => podCgroup(root, qosClassOf(pod), pod.metadata.uid ?? '');
  const limitsOf = (pod: Pod) =>
    options.withoutQuota?.(pod) === true
      ? { ...computePodLimits(pod, { ...options.limits, cpuCfsQuota: false }), cpuQuotaUs: -1 }
      : computePodLimits(pod, options.limits);
  let burstableShares = 0;
  let memoryMin = '';

  async function enforceReserved(): Promise<void> {
    for (const { name, amounts, compressible } of options.reserved ?? []) {
      const place = name.startsWith('/') ? name : `/${name}`;
      if (!(await fs.exists(place))) {
        throw new Error(`cannot enforce what is reserved: there is no cgroup ${place}; make it, or name another one`);
      }
      await fs.ensure(place, computeReservedLimits(amounts, compressible));
    }
  }

  /** Nothing of what pods ask for is protected unless all groups above them protect it too. */
  async function protectMemory(pods: readonly Pod[]): Promise<void> {
    const { all, burstable } = computeMemoryMin(pods);
    if (options.limits.memoryQos !== true || fs.version !== 2 || memoryMin === `${all} ${burstable}`) return;
    await fs.ensure(path(qosCgroup(root, 'Guaranteed')), { memoryMinBytes: all });
    await fs.ensure(path(qosCgroup(root, 'Burstable')), { memoryMinBytes: burstable });
    memoryMin = `${all} ${burstable}`;
  }

  return {
    parentOf: (pod) => (perQos ? cgroupParent(nameOf(pod), driver) : ''),
    pathOf: (pod) => path(nameOf(pod)),
    podsPath: path(qosCgroup(root, 'Guaranteed')),
    groupPaths: classes.map((qos) => path(qosCgroup(root, qos))),
    async ensureNode(share) {
      await enforceReserved();
      if (!perQos) return;
      const sizes = options.limits.hugepageSizes;
      await fs.ensure(path(qosCgroup(root, 'Guaranteed')), computeNodeLimits(share, options.enforceAllocatable, sizes));
      await fs.ensure(path(qosCgroup(root, 'Burstable')), {});
      await fs.ensure(path(qosCgroup(root, 'BestEffort')), { cpuShares: 2 });
    },
    async ensurePod(pod) {
      if (perQos) await fs.ensure(path(nameOf(pod)), limitsOf(pod));
    },
    async readPod(pod) {
      if (!perQos) return undefined;
      return { current: await fs.read(path(nameOf(pod))), target: limitsOf(pod) };
    },
    async setPod(pod, limits) {
      await fs.ensure(path(nameOf(pod)), limits);
    },
    async containerMemory(pod, containerId) {
      if (!perQos) return undefined;
      const child = (await fs.children(path(nameOf(pod)))).find((name) => name.includes(containerId));
      return child === undefined ? undefined : (await fs.read(`${path(nameOf(pod))}/${child}`)).memoryUsageBytes;
    },
    async updateClasses(pods) {
      const shares = computeBurstableShares(pods);
      if (!perQos) return;
      await protectMemory(pods);
      if (shares === burstableShares) return;
      await fs.ensure(path(qosCgroup(root, 'Burstable')), { cpuShares: shares });
      burstableShares = shares;
    },
    async removePod(podUid) {
      if (!perQos) return;
      for (const qos of classes) await fs.remove(path(podCgroup(root, qos, podUid)));
    },
    async listPods() {
      if (!perQos) return [];
      const found = await Promise.all(classes.map((qos) => fs.children(path(qosCgroup(root, qos)))));
      return found.flat().flatMap((entry) => podUidOfCgroup(entry) ?? []);
    },
  };
}

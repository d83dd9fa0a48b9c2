// The runtime as the rest of the agent sees it: every call timed, heavy ones bounded, its state in a cache; and the
// cgroups beside it.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { amountsOf } from '#kube/api/pod-resources.ts';
import { createCgroupManager } from '../cgroup/cgroup-manager.ts';
import { createCgroupV1 } from '../cgroup/cgroup-v1.ts';
import { createCgroupV2, isUnifiedHierarchy } from '../cgroup/cgroup-v2.ts';
import { observeCgroups } from '../cgroup/observe-cgroups.ts';
import { createSystemdCgroups } from '../cgroup/systemd-cgroups.ts';
import { limitCalls } from '../cri/limit-calls.ts';
import { observeCalls } from '../cri/observe-calls.ts';
import { hugepageNames } from '../node/machine-facts.ts';
import { createRuntimeCache } from '../runtime-cache/runtime-cache.ts';
import type { AgentMetrics } from '../server/agent-metrics.ts';
import { createCgroupV1StatsReader } from '../stats/cgroup-v1-stats.ts';
import { createCgroupV2StatsReader } from '../stats/cgroup-v2-stats.ts';
import { type Bus, openBus } from '../systemd/bus.ts';
import type { AgentParts } from './agent-parts.ts';

const cgroupFsRoot = '/sys/fs/cgroup';
const criCallsInFlight = 8;
const criPatienceMs = 5000;

/** The cgroups that the configuration reserves something to. */
function reservedCgroups({ settings }: AgentParts) {
  const { systemReservedCgroup, kubeReservedCgroup, systemReserved, kubeReserved, enforced } = settings;
  const pairs = [
    ['system-reserved', systemReservedCgroup, systemReserved],
    ['kube-reserved', kubeReservedCgroup, kubeReserved],
  ] as const;
  return pairs.flatMap(([kind, name, amounts]) =>
    name === undefined ? [] : [{ name, amounts: amountsOf(amounts), compressible: !enforced.includes(kind) }],
  );
}

function createCgroups(parts: AgentParts, unified: boolean, bus: Bus, withoutQuota: (pod: Pod) => boolean) {
  const { settings, facts, clock } = parts;
  const fs = unified ? createCgroupV2(cgroupFsRoot, clock) : createCgroupV1(cgroupFsRoot, clock);
  return createCgroupManager({
    fs: settings.cgroupDriver === 'systemd' ? createSystemdCgroups(fs, bus, clock) : fs,
    driver: settings.cgroupDriver,
    root: settings.cgroupRoot,
    perQos: settings.cgroupsPerQos,
    limits: {
      ...settings,
      hugepageSizes: facts.hugepages.map(({ pageKiB }) => hugepageNames(pageKiB).runtime),
      memoryQos: settings.memoryQos && unified,
    },
    reserved: reservedCgroups(parts),
    withoutQuota,
    enforceAllocatable: settings.enforceAllocatable,
  });
}

/** Connects the runtime and the cgroups; `metrics` gives what the agent's own metrics are told by. */
export async function wireRuntime(parts: AgentParts, metrics: (unified: boolean) => AgentMetrics) {
  const { clock, logger } = parts;
  const unified = await isUnifiedHierarchy(cgroupFsRoot);
  const agentMetrics = metrics(unified);
  /** Without the bound: for calls that are cheap or that wait for something else than work. */
  const direct = observeCalls(parts.runtime, clock, agentMetrics.observeRuntimeCall);
  const images = observeCalls(parts.images, clock, agentMetrics.observeRuntimeCall);
  const runtime = limitCalls(direct, criCallsInFlight, { clock, ms: criPatienceMs });
  const cgroupReader = unified
    ? createCgroupV2StatsReader(cgroupFsRoot, clock)
    : createCgroupV1StatsReader(cgroupFsRoot, clock);
  // Opened with its first use.
  const bus = openBus();
  let isWithoutQuota = (_: Pod) => false;
  const cgroups = observeCgroups(
    createCgroups(parts, unified, bus, (pod) => isWithoutQuota(pod)),
    clock,
    agentMetrics.observeCgroup,
  );
  const cache = createRuntimeCache({
    runtime,
    clock,
    logger,
    relistPeriodMs: 1000,
    observeRelist: agentMetrics.observeRelist,
  });
  return {
    ...{ unified, agentMetrics, direct, images, runtime, cgroups, cgroupReader, cache, bus },
    /** Sets which pods have processors of their own. */
    withoutQuota(decide: (pod: Pod) => boolean) {
      isWithoutQuota = decide;
    },
  };
}

/** What `wireRuntime` made. */
export type RuntimeParts = Awaited<ReturnType<typeof wireRuntime>>;

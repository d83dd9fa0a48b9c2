// /metrics/cadvisor: cAdvisor's families with its names and labels, from one sample.
import { setImmediate as yieldToOthers } from 'node:timers/promises';
import { createMetricGroups, type MetricGroup } from './metric-groups.ts';
import { type LabelText, labelText, type MetricText } from './metric-text.ts';
import type { InterfaceStats } from './process-stats.ts';
import { type CadvisorFacts, renderMachine } from './render-machine.ts';
import type { NodeSample, SampledCgroup } from './sampler.ts';

type Value = (cgroup: SampledCgroup) => number | undefined;

interface Family {
  name: string;
  type: 'counter' | 'gauge';
  help: string;
  value: Value;
}

const seconds = 1e-9;

const simple: Family[] = [
  {
    name: 'container_cpu_load_average_10s',
    type: 'gauge',
    help: 'Value of container cpu load average over the last 10 seconds, 0 while the load reader is off.',
    value: () => 0,
  },
  {
    name: 'container_cpu_load_d_average_10s',
    type: 'gauge',
    help: 'Value of container cpu load.d average over the last 10 seconds, 0 while the load reader is off.',
    value: () => 0,
  },
  {
    name: 'container_cpu_system_seconds_total',
    type: 'counter',
    help: 'Cumulative system cpu time consumed in seconds.',
    value: ({ stats }) => stats.cpu.systemNs * seconds,
  },
  {
    name: 'container_cpu_user_seconds_total',
    type: 'counter',
    help: 'Cumulative user cpu time consumed in seconds.',
    value: ({ stats }) => stats.cpu.userNs * seconds,
  },
  {
    name: 'container_cpu_cfs_periods_total',
    type: 'counter',
    help: 'Number of elapsed enforcement period intervals.',
    value: ({ stats }) => (stats.spec.cpuQuotaUs > 0 ? stats.cpu.periods : undefined),
  },
  {
    name: 'container_cpu_cfs_throttled_periods_total',
    type: 'counter',
    help: 'Number of throttled period intervals.',
    value: ({ stats }) => (stats.spec.cpuQuotaUs > 0 ? stats.cpu.throttledPeriods : undefined),
  },
  {
    name: 'container_cpu_cfs_throttled_seconds_total',
    type: 'counter',
    help: 'Total time duration the container has been throttled.',
    value: ({ stats }) => (stats.spec.cpuQuotaUs > 0 ? stats.cpu.throttledNs * seconds : undefined),
  },
  {
    name: 'container_file_descriptors',
    type: 'gauge',
    help: 'Number of open file descriptors for the container.',
    value: ({ processes }) => processes?.fileDescriptors,
  },
  {
    name: 'container_health_state',
    type: 'gauge',
    help: "The result of the container's health check, 0 where the runtime makes none.",
    value: ({ container }) => (container === undefined ? undefined : 0),
  },
  {
    name: 'container_memory_cache',
    type: 'gauge',
    help: 'Number of bytes of page cache memory.',
    value: ({ stats }) => stats.memory.cache,
  },
  {
    name: 'container_memory_failcnt',
    type: 'counter',
    help: 'Number of memory usage hits limits.',
    value: ({ stats }) => stats.memory.failures,
  },
  {
    name: 'container_memory_kernel_usage',
    type: 'gauge',
    help: 'Size of kernel memory allocated in bytes.',
    value: ({ stats }) => stats.memory.kernel,
  },
  {
    name: 'container_memory_mapped_file',
    type: 'gauge',
    help: 'Size of memory mapped files in bytes.',
    value: ({ stats }) => stats.memory.mappedFile,
  },
  {
    name: 'container_memory_max_usage_bytes',
    type: 'gauge',
    help: 'Maximum memory usage recorded in bytes.',
    value: ({ stats }) => stats.memory.maxUsage,
  },
  {
    name: 'container_memory_rss',
    type: 'gauge',
    help: 'Size of RSS in bytes.',
    value: ({ stats }) => stats.memory.rss,
  },
  {
    name: 'container_memory_swap',
    type: 'gauge',
    help: 'Container swap usage in bytes.',
    value: ({ stats }) => stats.memory.swap,
  },
  {
    name: 'container_memory_total_active_file_bytes',
    type: 'gauge',
    help: 'Current total active file in bytes.',
    value: ({ stats }) => stats.memory.activeFile,
  },
  {
    name: 'container_memory_total_inactive_file_bytes',
    type: 'gauge',
    help: 'Current total inactive file in bytes.',
    value: ({ stats }) => stats.memory.inactiveFile,
  },
  {
    name: 'container_memory_usage_bytes',
    type: 'gauge',
    help: 'Current memory usage in bytes, including all memory regardless of when it was accessed.',
    value: ({ stats }) => stats.memory.usage,
  },
  {
    name: 'container_memory_working_set_bytes',
    type: 'gauge',
    help: 'Current working set in bytes.',
    value: ({ stats }) => stats.memory.workingSet,
  },
  {
    name: 'container_oom_events_total',
    type: 'counter',
    help: 'Count of out of memory events observed for the container.',
    value: ({ stats }) => stats.memory.oomKills,
  },
  {
    name: 'container_processes',
    type: 'gauge',
    help: 'Number of processes running inside the container.',
    value: ({ stats }) => stats.processes.length,
  },
  {
    name: 'container_sockets',
    type: 'gauge',
    help: 'Number of open sockets for the container.',
    value: ({ processes }) => processes?.sockets,
  },
  {
    name: 'container_spec_cpu_period',
    type: 'gauge',
    help: 'CPU period of the container.',
    value: ({ stats }) => stats.spec.cpuPeriodUs,
  },
  {
    name: 'container_spec_cpu_quota',
    type: 'gauge',
    help: 'CPU quota of the container.',
    value: ({ stats }) => (stats.spec.cpuQuotaUs > 0 ? stats.spec.cpuQuotaUs : undefined),
  },
  {
    name: 'container_spec_cpu_shares',
    type: 'gauge',
    help: 'CPU share of the container.',
    value: ({ stats }) => stats.spec.cpuShares,
  },
  {
    name: 'container_spec_memory_limit_bytes',
    type: 'gauge',
    help: 'Memory limit for the container.',
    value: ({ stats }) => stats.spec.memoryLimit,
  },
  {
    name: 'container_spec_memory_reservation_limit_bytes',
    type: 'gauge',
    help: 'Memory reservation limit for the container.',
    value: ({ stats }) => stats.spec.memoryReservation,
  },
  {
    name: 'container_spec_memory_swap_limit_bytes',
    type: 'gauge',
    help: 'Memory swap limit for the container.',
    value: ({ stats }) => stats.spec.memorySwapLimit,
  },
  {
    name: 'container_threads',
    type: 'gauge',
    help: 'Number of threads running inside the container.',
    value: ({ stats }) => stats.threads,
  },
  {
    name: 'container_threads_max',
    type: 'gauge',
    help: 'Maximum number of threads allowed inside the container, infinity if value is zero.',
    value: ({ stats }) => stats.spec.pidsLimit,
  },
];

/** The group of a family of the table. */
function groupOf(name: string): MetricGroup {
  if (/^container_(cpu|spec_cpu)_/.test(name)) return 'cpu';
  if (/^container_(memory|spec_memory|oom)_/.test(name)) return 'memory';
  return name === 'container_health_state' ? 'lifetime' : 'process';
}

const networkFamilies: [string, string, (stats: InterfaceStats) => number][] = [
  ['receive_bytes_total', 'Cumulative count of bytes received', (stats) => stats.rxBytes],
  ['receive_errors_total', 'Cumulative count of errors encountered while receiving', (stats) => stats.rxErrors],
  ['receive_packets_dropped_total', 'Cumulative count of packets dropped while receiving', (stats) => stats.rxDropped],
  ['receive_packets_total', 'Cumulative count of packets received', (stats) => stats.rxPackets],
  ['transmit_bytes_total', 'Cumulative count of bytes transmitted', (stats) => stats.txBytes],
  ['transmit_errors_total', 'Cumulative count of errors encountered while transmitting', (stats) => stats.txErrors],
  [
    'transmit_packets_dropped_total',
    'Cumulative count of packets dropped while transmitting',
    (stats) => stats.txDropped,
  ],
  ['transmit_packets_total', 'Cumulative count of packets transmitted', (stats) => stats.txPackets],
];

interface Labelled {
  cgroup: SampledCgroup;
  own: LabelText;
  /** Labels with one more between `container` and `id`, or at another place of the alphabet. */
  with(name: string, value: string): LabelText;
}

function labelled(cgroup: SampledCgroup): Labelled {
  const { pod, container, sandboxId } = cgroup;
  const labels = {
    container: container?.name ?? '',
    id: cgroup.id,
    image: container?.image ?? '',
    name: container?.id ?? sandboxId ?? '',
    namespace: pod?.namespace ?? '',
    pod: pod?.name ?? '',
  };
  const head = labelText({ container: labels.container });
  const { container: _, ...rest } = labels;
  const tail = labelText(rest);
  return {
    cgroup,
    own: `${head},${tail}`,
    // Additional labels are plain words; where among the others they stand does not matter.
    with: (name, value) => `${head},${name}="${value}",${tail}`,
  };
}

type Special = (text: MetricText, all: readonly Labelled[], atMs: number) => void;

const renderCpuUsage: Special = (text, all, atMs) => {
  text.family('container_cpu_usage_seconds_total', 'counter', 'Cumulative cpu time consumed in seconds.');
  for (const item of all) text.add(item.with('cpu', 'total'), item.cgroup.stats.cpu.totalNs * seconds, atMs);
};

const renderLifetime: Special = (text, all, atMs) => {
  text.family('container_last_seen', 'gauge', 'Last time a container was seen by the exporter');
  for (const item of all) text.add(item.own, Math.floor(atMs / 1000), atMs);
  text.family('container_start_time_seconds', 'gauge', 'Start time of the container since unix epoch in seconds.');
  for (const { own, cgroup } of all) text.add(own, Math.floor(cgroup.stats.createdAtMs / 1000));
};

const renderFailures: Special = (text, all, atMs) => {
  text.family('container_memory_failures_total', 'counter', 'Cumulative count of memory allocation failures.');
  for (const item of all) {
    const { pageFaults, majorPageFaults } = item.cgroup.stats.memory;
    for (const scope of ['container', 'hierarchy']) {
      // `failure_type` comes before `id`, `scope` after everything.
      const faults = (type: string) => `${item.with('failure_type', type)},scope="${scope}"`;
      text.add(faults('pgfault'), pageFaults, atMs);
      text.add(faults('pgmajfault'), majorPageFaults, atMs);
    }
  }
};

const renderTasks: Special = (text, all, atMs) => {
  text.family('container_tasks_state', 'gauge', 'Number of tasks in given state');
  for (const item of all) {
    const { states } = item.cgroup.processes ?? {};
    for (const [state, count] of Object.entries(states ?? {})) text.add(`${item.own},state="${state}"`, count, atMs);
  }
  text.family(
    'container_ulimits_soft',
    'gauge',
    'Soft ulimit values for the container root process. Unlimited if -1, except priority and nice',
  );
  for (const item of all) {
    const limit = item.cgroup.openFilesLimit;
    if (limit !== undefined) text.add(`${item.own},ulimit="max_open_files"`, limit, atMs);
  }
};

const renderNetwork: Special = (text, all, atMs) => {
  for (const [name, help, value] of networkFamilies) {
    text.family(`container_network_${name}`, 'counter', help);
    for (const item of all) {
      for (const stats of item.cgroup.interfaces) text.add(item.with('interface', stats.name), value(stats), atMs);
    }
  }
};

function renderSimple(text: MetricText, group: MetricGroup, all: readonly Labelled[], atMs: number): void {
  for (const { name, type, help, value } of simple) {
    if (groupOf(name) !== group) continue;
    text.family(name, type, help);
    for (const { cgroup, own } of all) {
      const number = value(cgroup);
      if (number !== undefined) text.add(own, number, atMs);
    }
  }
}

const parts: [group: MetricGroup, special: Special][] = [
  ['cpu', renderCpuUsage],
  ['memory', renderFailures],
  ['network', renderNetwork],
  ['process', renderTasks],
  ['lifetime', renderLifetime],
];

/** The text of all groups that are on, group by group. Others have their turn in between. */
export async function* renderCadvisor(
  sample: NodeSample,
  machine: CadvisorFacts,
  groups = createMetricGroups(),
): AsyncGenerator<string> {
  const all = groups.spend('sample', () => sample.cgroups.map(labelled));
  for (const [group, special] of parts) {
    yield groups.render(group, (text) => {
      special(text, all, sample.atMs);
      renderSimple(text, group, all, sample.atMs);
    });
    await yieldToOthers();
  }
  yield groups.render('machine', (text) => {
    renderMachine(text, machine);
  });
}

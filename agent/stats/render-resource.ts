// /metrics/resource: what autoscalers need, and no more (pkg/kubelet/metrics/collectors/resource_metrics.go).
import { labelText, type MetricText } from './metric-text.ts';
import type { NodeSample, SampledCgroup } from './sampler.ts';

function containers(sample: NodeSample): SampledCgroup[] {
  return sample.cgroups.filter(({ container }) => container !== undefined);
}

/** The cgroups of whole pods. */
export function podCgroups(sample: NodeSample): SampledCgroup[] {
  return sample.cgroups.filter(({ pod, container, sandboxId }) => pod && !container && sandboxId === undefined);
}

/** Writes all of it. */
export function renderResource(text: MetricText, sample: NodeSample): void {
  const root = sample.cgroups.find(({ id }) => id === '/');
  const ofContainer = containers(sample).map((cgroup) => ({
    cgroup,
    labels: labelText({
      container: cgroup.container?.name ?? '',
      namespace: cgroup.pod?.namespace ?? '',
      pod: cgroup.pod?.name ?? '',
    }),
  }));
  const ofPod = podCgroups(sample).map((cgroup) => ({
    cgroup,
    labels: labelText({ namespace: cgroup.pod?.namespace ?? '', pod: cgroup.pod?.name ?? '' }),
  }));
  const measures: [string, 'counter' | 'gauge', string, (cgroup: SampledCgroup) => number][] = [
    [
      'cpu_usage_seconds_total',
      'counter',
      'Cumulative cpu time consumed by the',
      ({ stats }) => stats.cpu.totalNs / 1e9,
    ],
    [
      'memory_working_set_bytes',
      'gauge',
      'Current working set in bytes of the',
      ({ stats }) => stats.memory.workingSet,
    ],
    ['swap_usage_bytes', 'gauge', 'Current amount of swap in bytes used by the', ({ stats }) => stats.memory.swap],
  ];
  for (const [name, type, help, value] of measures) {
    text.family(`container_${name}`, type, `${help} container`);
    for (const { cgroup, labels } of ofContainer) text.add(labels, value(cgroup), sample.atMs);
    text.family(`node_${name}`, type, `${help} node`);
    if (root !== undefined) text.add('', value(root), sample.atMs);
    text.family(`pod_${name}`, type, `${help} pod`);
    for (const { cgroup, labels } of ofPod) text.add(labels, value(cgroup), sample.atMs);
  }
  text.family('container_start_time_seconds', 'gauge', 'Start time of the container since unix epoch in seconds');
  for (const { cgroup, labels } of ofContainer)
    text.add(labels, (cgroup.container?.startedAtMs ?? 0) / 1000, sample.atMs);
  text.family('resource_scrape_error', 'gauge', '1 if there was an error while getting container metrics, 0 otherwise');
  text.add('', root === undefined ? 1 : 0);
}

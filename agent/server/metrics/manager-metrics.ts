// Metrics of the managers that place pods on processors: how pods fared, and how many processors are given away.
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';

const millisecondBuckets = [
  50, 100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600, 51_200, 102_400, 204_800, 409_600, 819_200,
];

export interface ProcessorUse {
  /** Whether processors are given away at all. */
  isStatic: boolean;
  /** Processors that containers have for themselves. */
  exclusive(): number;
  /** Processors that could be given away. */
  assignable(): number;
  /** Processors that containers have for themselves, by NUMA node. */
  byNode(): ReadonlyMap<number, number>;
}

/** Registers the metrics of admission; the function is told how each pod fared. */
export function registerTopologyMetrics(registry: Registry): (admitted: boolean, durationMs: number) => void {
  const registers = [registry];
  const requests = new Counter({
    name: 'kubelet_topology_manager_admission_requests_total',
    help: 'The number of admission requests where resources have to be aligned.',
    registers,
  });
  const errors = new Counter({
    name: 'kubelet_topology_manager_admission_errors_total',
    help: 'The number of admission request failures where resources could not be aligned.',
    registers,
  });
  const durations = new Histogram({
    name: 'kubelet_topology_manager_admission_duration_ms',
    help: 'Duration in milliseconds to serve a pod admission request.',
    buckets: millisecondBuckets,
    registers,
  });
  return (admitted, durationMs) => {
    requests.inc();
    if (!admitted) errors.inc();
    durations.observe(durationMs);
  };
}

/** Told of each request for something of a container's own, and whether it failed. */
export type ObservePinning = (failed: boolean) => void;

/** Registers the counters of requests for processors and memory of containers' own. */
export function registerPinningMetrics(registry: Registry) {
  const labelNames = ['scope', 'boundary'] as const;
  const aligned = new Counter({
    name: 'kubelet_container_aligned_compute_resources_count',
    help: 'Cumulative number of aligned compute resources allocated to containers by alignment type.',
    labelNames,
    registers: [registry],
  });
  const unaligned = new Counter({
    name: 'kubelet_container_aligned_compute_resources_failure_count',
    help: 'Cumulative number of failures to allocate aligned compute resources to containers by alignment type.',
    labelNames,
    registers: [registry],
  });
  const counters = (manager: string, what: string): ObservePinning => {
    const requests = new Counter({
      name: `kubelet_${manager}_pinning_requests_total`,
      help: `The number of ${what} allocations which required pinning.`,
      registers: [registry],
    });
    const errors = new Counter({
      name: `kubelet_${manager}_pinning_errors_total`,
      help: `The number of ${what} allocations which required pinning that failed.`,
      registers: [registry],
    });
    return (failed) => {
      requests.inc();
      if (failed) errors.inc();
    };
  };
  return {
    processors: counters('cpu_manager', 'cpu core'),
    memory: counters('memory_manager', 'memory pages'),
    /** What was to be aligned to that boundary was, or was not. */
    aligned(scope: 'container' | 'pod', boundary: 'numa_node' | 'physical_cpu', succeeded: boolean): void {
      (succeeded ? aligned : unaligned).inc({ scope, boundary });
    },
  };
}

/** Registers the gauges of processors, read when somebody asks. */
export function registerProcessorMetrics(registry: Registry, use: ProcessorUse): void {
  const gauge = (name: string, help: string, value: () => number) =>
    void new Gauge({
      name,
      help,
      registers: [registry],
      collect() {
        this.set(use.isStatic ? value() : 0);
      },
    });
  gauge(
    'kubelet_cpu_manager_exclusive_cpu_allocation_count',
    'The total number of CPUs exclusively allocated to containers running on this node',
    use.exclusive,
  );
  gauge(
    'kubelet_cpu_manager_shared_pool_size_millicores',
    'The size of the shared CPU pool for non-guaranteed QoS pods, in millicores.',
    () => Math.max(use.assignable() - use.exclusive(), 0) * 1000,
  );
  new Gauge({
    name: 'kubelet_cpu_manager_allocation_per_numa',
    help: 'Number of CPUs allocated per NUMA node',
    labelNames: ['numa_node'],
    registers: [registry],
    collect() {
      this.reset();
      if (use.isStatic) for (const [id, count] of use.byNode()) this.set({ numa_node: `${id}` }, count);
    },
  });
}

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
}

// Metrics of the agent's own process and start: how long the node took to register, what the event loop and the
// network cost, which features there are.
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Gauge, type Registry } from 'prom-client';
import { knownFeatures } from '../../config/field-support.ts';
import { readText } from '../../stats/read-file.ts';

const stages: Record<string, string> = { CustomCPUCFSQuotaPeriod: 'ALPHA', MemoryQoS: 'ALPHA' };
const percentiles = [50, 90, 99, 99.9];
const loopResolutionMs = 10;
const windowMs = 10_000;

export interface MachineMetricSources {
  featureGates: Record<string, unknown>;
  /** Wall clock: when the process began, the agent was built, the node was registered, the first pod could run. */
  startedAtMs: number;
  /** Resolves when the node is registered. */
  registered: Promise<void>;
  /** Resolves when all sources have told their pods. */
  ready: Promise<void>;
  now(): number;
}

/** Bytes over all interfaces but loopback in the text of /proc/PID/net/dev. */
function networkBytes(column: number): number {
  return readText('/proc/self/net/dev')
    .split('\n')
    .slice(2)
    .map((line) => line.split(':'))
    .filter(([name = '', rest = '']) => rest !== '' && name.trim() !== 'lo')
    .reduce((sum, [, rest = '']) => sum + Number(rest.trim().split(/\s+/)[column] ?? 0), 0);
}

/** Registers the gauges of the start. Values appear as the start goes on. */
function registerStartup(registry: Registry, sources: MachineMetricSources): void {
  const gauge = (name: string, help: string) => new Gauge({ name, help, registers: [registry] });
  const prefix = 'kubelet_node_startup_';
  const pre = gauge(
    `${prefix}pre_kubelet_duration_seconds`,
    'Duration in seconds of node startup before kubelet starts.',
  );
  const preRegistration = gauge(
    `${prefix}pre_registration_duration_seconds`,
    'Duration in seconds of node startup before registration.',
  );
  const registration = gauge(
    `${prefix}registration_duration_seconds`,
    'Duration in seconds of node startup during registration.',
  );
  const post = gauge(
    `${prefix}post_registration_duration_seconds`,
    'Duration in seconds of node startup after registration.',
  );
  const whole = gauge(`${prefix}duration_seconds`, 'Duration in seconds of node startup in total.');
  const processMs = sources.now() - performance.now();
  const bootMs = Number(/^btime (\d+)$/m.exec(readText('/proc/stat'))?.[1] ?? 0) * 1000;
  const seconds = (fromMs: number, toMs: number) => Math.max(toMs - fromMs, 0) / 1000;
  pre.set(seconds(bootMs, processMs));
  preRegistration.set(seconds(processMs, sources.startedAtMs));
  void sources.registered.then(() => {
    const registeredMs = sources.now();
    registration.set(seconds(sources.startedAtMs, registeredMs));
    return sources.ready.then(() => {
      post.set(seconds(registeredMs, sources.now()));
      whole.set(seconds(bootMs, sources.now()));
    });
  });
}

/** Percentiles of how late the event loop is. Each window ends with the scrape that shows it. */
function registerEventLoopDelay(registry: Registry): { disable(): boolean } {
  const delay = monitorEventLoopDelay({ resolution: loopResolutionMs });
  delay.enable();
  let windowSinceMs = Number.NEGATIVE_INFINITY;
  void new Gauge({
    name: 'berth_event_loop_delay_seconds',
    help: 'How late timers of the agent ran in the last window between scrapes that lasted ten seconds, by percentile.',
    labelNames: ['percentile'],
    registers: [registry],
    collect() {
      if (performance.now() - windowSinceMs < windowMs) return;
      for (const percentile of percentiles) {
        const late = delay.percentile(percentile) / 1e9 - loopResolutionMs / 1000;
        this.set({ percentile: `${percentile}` }, Number.isFinite(late) ? Math.max(late, 0) : 0);
      }
      delay.reset();
      windowSinceMs = performance.now();
    },
  });
  return delay;
}

/** Registers everything. The event loop is watched from then on; disposing ends that. */
export function registerMachineMetrics(registry: Registry, sources: MachineMetricSources): Disposable {
  registerStartup(registry, sources);
  const registers = [registry];
  const features = new Gauge({
    name: 'kubernetes_feature_enabled',
    help: 'This metric records the data about the stage and enablement of a k8s feature.',
    labelNames: ['name', 'stage'],
    registers,
  });
  for (const name of knownFeatures) {
    const isOn = String(sources.featureGates[name]) === 'true';
    features.set({ name, stage: stages[name] ?? 'ALPHA' }, isOn ? 1 : 0);
  }
  for (const [name, help, column] of [
    ['process_network_receive_bytes_total', 'Number of bytes received by the process over the network.', 0],
    ['process_network_transmit_bytes_total', 'Number of bytes sent by the process over the network.', 8],
  ] as const) {
    const counter: Gauge = new Gauge({ name, help, registers, collect: () => counter.set(networkBytes(column)) });
    Object.assign(counter, { type: 'counter' });
  }
  void new Gauge({
    name: 'process_virtual_memory_max_bytes',
    help: 'Maximum amount of virtual memory available in bytes.',
    registers,
    collect() {
      const limit = /^Max address space\s+(\d+|unlimited)/m.exec(readText('/proc/self/limits'))?.[1];
      this.set(limit === undefined || limit === 'unlimited' ? -1 : Number(limit));
    },
  });
  const delay = registerEventLoopDelay(registry);
  return { [Symbol.dispose]: () => void delay.disable() };
}

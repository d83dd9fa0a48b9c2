// When the last graceful shutdown of the node began and ended, under kubelet's names.
import { Gauge, type Registry } from 'prom-client';
import type { Clock } from '#kube/process/clock.ts';

export interface ShutdownMetrics {
  started(): void;
  ended(): void;
}

/** Registers both gauges; 0 as long as there was none. */
export function createShutdownMetrics(registry: Registry, clock: Clock): ShutdownMetrics {
  const gauge = (which: string) =>
    new Gauge({
      name: `kubelet_graceful_shutdown_${which}_time_seconds`,
      help: `Last graceful shutdown ${which} time since unix epoch in seconds`,
      registers: [registry],
    });
  const start = gauge('start');
  const end = gauge('end');
  return {
    started() {
      start.set(clock.now() / 1000);
      end.set(0);
    },
    ended: () => end.set(clock.now() / 1000),
  };
}

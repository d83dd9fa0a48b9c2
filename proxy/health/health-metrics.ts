// How often the health server was asked, under kube-proxy's names.
import { Counter, type Registry } from 'prom-client';

/** Counts answers by code. */
export function createHealthMetrics(registry: Registry): (path: 'healthz' | 'livez', code: number) => void {
  const counter = (path: string) =>
    new Counter({
      name: `kubeproxy_proxy_${path}_total`,
      help: `Cumulative proxy ${path} HTTP status`,
      labelNames: ['code'],
      registers: [registry],
    });
  const counters = { healthz: counter('healthz'), livez: counter('livez') };
  return (path, code) => counters[path].inc({ code: `${code}` });
}

// When the rules of each service were last applied, by family: for whoever asks why a service does not answer yet.
import { Gauge, type Registry } from 'prom-client';
import type { IpFamily } from '../model/service-port.ts';

/** As many services as the metric shows: the last ones that were applied. */
const shownServices = 100;

export interface ProgrammedServices {
  /** Rules are in the kernel as of this moment; a service that is gone is forgotten. */
  note(family: IpFamily, serviceKey: string, atMs: number, exists: boolean): void;
  /** All of them, or one. Times are in RFC 3339. */
  list(serviceKey?: string): Record<string, Partial<Record<IpFamily, string>>>;
}

export function createProgrammedServices(registry: Registry): ProgrammedServices {
  /** Milliseconds since the epoch, the last applied one last. */
  const times: Record<IpFamily, Map<string, number>> = { IPv4: new Map(), IPv6: new Map() };
  const gauge: Gauge = new Gauge({
    name: 'berth_proxy_service_programmed_timestamp_seconds',
    help: `When the rules of a service were last applied, for the ${shownServices} services that changed last.`,
    labelNames: ['namespace', 'service', 'ip_family'],
    registers: [registry],
    collect: () => {
      gauge.reset();
      for (const [family, services] of Object.entries(times)) {
        const last = [...services].slice(-shownServices);
        for (const [key, atMs] of last) {
          const [namespace = '', service = ''] = key.split('/');
          gauge.set({ namespace, service, ip_family: family }, atMs / 1000);
        }
      }
    },
  });
  return {
    note: (family, key, atMs, exists) => {
      times[family].delete(key);
      if (exists) times[family].set(key, atMs);
    },
    list: (only) => {
      const services: ReturnType<ProgrammedServices['list']> = {};
      for (const family of ['IPv4', 'IPv6'] as const) {
        for (const [key, atMs] of times[family]) {
          if (only !== undefined && only !== key) continue;
          services[key] = { ...services[key], [family]: new Date(atMs).toISOString() };
        }
      }
      return services;
    },
  };
}

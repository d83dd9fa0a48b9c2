// How long the node's certificates still live, how old they became, and what went wrong with the next ones, under
// kubelet's names (pkg/kubelet/certificate).
import { Counter, Gauge, Histogram, type Registry } from 'prom-client';
import type { Clock } from '#kube/process/clock.ts';
import type { Validity } from './plan-rotation.ts';

const hour = 3600;
const day = 24 * hour;
const year = 365 * day;
const ageBuckets = [60, hour, 4 * hour, day, 7 * day, 30 * day, 90 * day, 180 * day, year, 4 * year];

/** What is told of one certificate. */
export interface CertificateObserver {
  /** This is the one that is used now. */
  changed(pair: Validity): void;
  /** It was replaced at this age. */
  replaced(ageSeconds: number): void;
  failed(): void;
}

export interface CertificateMetrics {
  client: CertificateObserver;
  server: CertificateObserver;
}

/** Registers the families. */
export function createCertificateMetrics(registry: Registry, clock: Clock): CertificateMetrics {
  const registers = [registry];
  const ages = new Histogram({
    name: 'kubelet_certificate_manager_server_rotation_seconds',
    help: 'Histogram of the number of seconds the previous certificate lived before being rotated.',
    buckets: ageBuckets,
    registers,
  });

  function observer(whose: 'client' | 'server', errorsName: string): CertificateObserver {
    let current: Validity | undefined;
    const errors = new Counter({ name: errorsName, help: 'Counter of certificate renewal errors.', registers });
    new Gauge({
      name: `kubelet_certificate_manager_${whose}_ttl_seconds`,
      help: `Gauge of the TTL (time-to-live) of the Kubelet's ${whose} certificate. The value is in seconds until certificate expiry (negative if already expired). If the certificate is invalid or unused, the value will be +INF.`,
      registers,
      collect() {
        this.set(current === undefined ? Number.POSITIVE_INFINITY : (current.notAfterMs - clock.now()) / 1000);
      },
    });
    return {
      changed(pair) {
        current = pair;
      },
      replaced(ageSeconds) {
        if (whose === 'server') ages.observe(ageSeconds);
      },
      failed: () => errors.inc(),
    };
  }

  return {
    client: observer('client', 'kubelet_certificate_manager_client_expiration_renew_errors'),
    server: observer('server', 'kubelet_server_expiration_renew_errors'),
  };
}

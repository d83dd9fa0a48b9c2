// Keeps one certificate of the node fresh: asks for the next one in time, and again with a backoff while that fails.
import type { Logger } from 'pino';
import type { Clock } from '#kube/process/clock.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';
import type { CertificateObserver } from './certificate-metrics.ts';
import type { CertificatePair, CertificateStore } from './certificate-store.ts';
import type { IssuedCertificate } from './obtain-certificate.ts';
import { isValidAt, rotationDeadlineMs } from './plan-rotation.ts';

/** Clocks are set and machines sleep: the time left is looked at again so often. */
const lookMs = 60_000;
const retry = { initialMs: 2000, maxMs: 32_000 };

export interface RotationOptions {
  store: CertificateStore;
  obtain(signal: AbortSignal): Promise<IssuedCertificate>;
  /** Told every new pair, and the first one found. */
  changed(pair: CertificatePair): void;
  /** Whether the pair still says what it has to, for example has every address; a change makes the next one due. */
  matches?(pair: CertificatePair): boolean;
  observer?: CertificateObserver | undefined;
  clock: Clock;
  logger: Logger;
  random?: () => number;
}

/** Runs until the signal is aborted. */
export async function rotateCertificate(options: RotationOptions, signal: AbortSignal): Promise<void> {
  const { store, clock, logger, random = Math.random } = options;
  let pair = await store.load();
  if (pair !== undefined && isValidAt(pair, clock.now())) options.changed(pair);
  if (pair !== undefined) options.observer?.changed(pair);
  let failures = 0;
  while (!signal.aborted) {
    const wanted = pair !== undefined && (options.matches?.(pair) ?? true) && isValidAt(pair, clock.now());
    const deadlineMs = wanted && pair !== undefined ? rotationDeadlineMs(pair, random()) : 0;
    while (!signal.aborted && clock.now() < deadlineMs) {
      await clock.sleep(Math.min(deadlineMs - clock.now(), lookMs), signal).catch(() => undefined);
    }
    if (signal.aborted) return;
    try {
      const { certPem, keyPem } = await options.obtain(signal);
      if (pair !== undefined) options.observer?.replaced((clock.now() - pair.notBeforeMs) / 1000);
      pair = await store.save(certPem, keyPem, clock.now());
      options.observer?.changed(pair);
      // One that is over already or not yet valid tells of a wrong clock, here or there; nor may a signer who leaves
      // names out be asked without end.
      const usable = isValidAt(pair, clock.now()) && (options.matches?.(pair) ?? true);
      failures = usable ? 0 : failures + 1;
      options.changed(pair);
      logger.info({ subject: pair.subject, until: new Date(pair.notAfterMs).toISOString() }, 'the certificate is new');
      if (failures === 0) continue;
      logger.warn('the new certificate is not valid now, or not for all names: is the clock of this machine right?');
    } catch (error) {
      if (signal.aborted) return;
      failures += 1;
      options.observer?.failed();
      logger.warn({ err: error }, 'cannot renew the certificate, will try again');
    }
    await clock.sleep(backoffDelayMs(failures, retry), signal).catch(() => undefined);
  }
}

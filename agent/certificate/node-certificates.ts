// The certificates of the running agent: the client's, which the API client reads from its file, and the server's, which
// is shown from the next connection on.

import { X509Certificate } from 'node:crypto';
import type { Logger } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Component } from '#kube/process/component.ts';
import type { ServingCertificate } from '../server/serving-certificate.ts';
import type { CertificateMetrics } from './certificate-metrics.ts';
import type { CertificatePair, CertificateStore } from './certificate-store.ts';
import { type IssuedCertificate, obtainCertificate } from './obtain-certificate.ts';
import { isValidAt } from './plan-rotation.ts';
import { rotateCertificate } from './rotate-certificate.ts';
import { clientWish, servingWish } from './wishes.ts';

export interface NodeCertificateOptions {
  nodeName: string;
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  metrics?: CertificateMetrics;
  /** Undefined: client certificates are not renewed. */
  clientStore: CertificateStore | undefined;
  /** With the bootstrap credential, for a client certificate that ran out; undefined without one. */
  recover: ((signal: AbortSignal) => Promise<IssuedCertificate>) | undefined;
  /** Undefined: the server keeps the certificate it has. */
  serving: { store: CertificateStore; dnsNames: readonly string[]; ipAddresses: readonly string[] } | undefined;
}

/** What keeps them fresh. */
export interface NodeCertificates extends Pick<Component, 'run'> {
  /** For the server: called with what replaces its certificate. */
  replaceable(replace: (certificate: ServingCertificate) => void): void;
}

function covers(
  pair: CertificatePair,
  names: { dnsNames: readonly string[]; ipAddresses: readonly string[] },
): boolean {
  const certificate = new X509Certificate(pair.certPem);
  return (
    names.dnsNames.every((name) => certificate.checkHost(name) !== undefined) &&
    names.ipAddresses.every((address) => certificate.checkIP(address) !== undefined)
  );
}

/** Creates them; nothing is asked for before `run`. */
export function createNodeCertificates(options: NodeCertificateOptions): NodeCertificates {
  const { nodeName, client, clock, logger, clientStore, recover, serving, metrics } = options;
  let replace: ((certificate: ServingCertificate) => void) | undefined;
  let current: ServingCertificate | undefined;

  async function renewClient(store: CertificateStore, signal: AbortSignal): Promise<void> {
    const obtain = async (stop: AbortSignal): Promise<IssuedCertificate> => {
      const pair = await store.load();
      const hasRunOut = pair === undefined || !isValidAt(pair, clock.now());
      if (hasRunOut && recover !== undefined) return recover(stop);
      return obtainCertificate(client, clientWish(nodeName), clock, stop);
    };
    await rotateCertificate(
      { store, obtain, changed: () => undefined, observer: metrics?.client, clock, logger },
      signal,
    );
  }

  async function renewServing(wanted: NonNullable<typeof serving>, signal: AbortSignal): Promise<void> {
    await rotateCertificate(
      {
        store: wanted.store,
        obtain: (stop) => obtainCertificate(client, servingWish(nodeName, wanted), clock, stop),
        changed: ({ certPem, keyPem }) => {
          current = { cert: certPem, key: keyPem };
          replace?.(current);
        },
        matches: (pair) => covers(pair, wanted),
        observer: metrics?.server,
        clock,
        logger,
      },
      signal,
    );
  }

  return {
    replaceable(set) {
      replace = set;
      if (current !== undefined) set(current);
    },
    async run(signal) {
      const ended = new Promise((resolve) => signal.addEventListener('abort', resolve, { once: true }));
      await Promise.all([
        signal.aborted ? undefined : ended,
        clientStore === undefined ? undefined : renewClient(clientStore, signal),
        serving === undefined ? undefined : renewServing(serving, signal),
      ]);
    },
  };
}

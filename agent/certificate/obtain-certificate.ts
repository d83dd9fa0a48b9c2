// Asks the cluster for a certificate: a CertificateSigningRequest, and the wait until somebody approved and signed it
// (k8s.io/client-go/util/certificate/csr).
import { findCondition } from '#kube/api/conditions.ts';
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import { certificatesigningrequests } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RequestSubject } from './create-request.ts';

/** Upstream's limit for one request. */
const timeoutMs = 15 * 60_000;
const pollMs = 1000;

export interface CertificateWish extends RequestSubject {
  signerName: 'kubernetes.io/kube-apiserver-client-kubelet' | 'kubernetes.io/kubelet-serving';
  usages: string[];
}

/** What came of a request, and its key. */
export interface IssuedCertificate {
  certPem: string;
  keyPem: string;
}

/** A request that was refused, failed or not answered in time. */
export class CertificateRequestError extends Error {
  readonly code = 'CERTIFICATE_REQUEST';

  constructor(message: string) {
    super(message);
    this.name = 'CertificateRequestError';
  }
}

function outcome({ metadata, status }: CertificateSigningRequest): string | undefined {
  for (const type of ['Denied', 'Failed']) {
    const condition = findCondition(status?.conditions ?? [], type);
    if (condition === undefined) continue;
    const { reason = '', message = '' } = condition;
    const what = type === 'Denied' ? 'is denied' : 'failed';
    throw new CertificateRequestError(
      `certificate signing request ${metadata.name} ${what}, reason: ${reason}, message: ${message}`,
    );
  }
  const certificate = status?.certificate;
  const approved = findCondition(status?.conditions ?? [], 'Approved') !== undefined;
  return approved && certificate !== undefined && certificate !== ''
    ? Buffer.from(certificate, 'base64').toString('utf8')
    : undefined;
}

/** Resolves when the certificate is there. Throws CertificateRequestError, or what the API server answered. */
export async function obtainCertificate(
  client: ApiClient,
  wish: CertificateWish,
  clock: Clock,
  signal: AbortSignal,
): Promise<IssuedCertificate> {
  const { createRequest } = await import('./create-request.ts');
  const { requestPem, keyPem } = await createRequest(wish);
  const created = await client.create(
    certificatesigningrequests,
    undefined,
    {
      metadata: { name: '', generateName: 'csr-' },
      spec: {
        request: Buffer.from(requestPem).toString('base64'),
        signerName: wish.signerName,
        usages: wish.usages,
      },
    },
    { signal },
  );
  const { name } = created.metadata;
  const deadlineMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const certPem = outcome(await client.get(certificatesigningrequests, { name }, { signal }));
    if (certPem !== undefined) return { certPem, keyPem };
    if (clock.monotonicMs() > deadlineMs) {
      throw new CertificateRequestError(
        `certificate signing request ${name} was not answered in ${timeoutMs / 60_000} minutes`,
      );
    }
    await clock.sleep(pollMs, signal);
  }
}

// Approves the requests by which nodes join and renew, signs approved requests, and removes old ones.
import type { SubjectAccessReview } from '#kube/api/generated/authorization-v1.ts';
import type {
  CertificateSigningRequest,
  CertificateSigningRequestCondition,
} from '#kube/api/generated/certificates-v1.ts';
import { certificatesigningrequests, subjectaccessreviews } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import { formatTime, parseTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { type CertificateRequest, readCertificateRequest, signCertificateRequest } from './certificate-request.ts';
import { isBuiltInSigner, kubeletClientSigner, signerFault } from './signer-rules.ts';

const hourMs = 3_600_000;
const longestLifetimeMs = 365 * 24 * hourMs;
const shortestLifetimeMs = 600_000;
/** How long requests are kept: decided ones an hour, others a day. */
const keptMs = { decided: hourMs, pending: 24 * hourMs };

/** `sharedClient` watches; `authority` signs. */
export function createCertificateController(
  context: ControllerContext,
  sharedClient: ApiClient,
  authority: { certPem: string; keyPem: string },
): Controller {
  const { client, clock, logger } = context;
  const queue = createControllerQueue(context);
  const requests = createInformer<CertificateSigningRequest>({
    client: sharedClient,
    resource: certificatesigningrequests,
    clock,
    logger,
  });
  requests.subscribe({
    added: (request) => queue.add(objectKey(request)),
    updated: (_, request) => queue.add(objectKey(request)),
  });

  const has = ({ status }: CertificateSigningRequest, type: string) =>
    status?.conditions?.some((condition) => condition.type === type) ?? false;

  function condition(type: string, reason: string, message: string): CertificateSigningRequestCondition {
    const now = formatTime(clock.now());
    return { type, status: 'True', reason, message, lastUpdateTime: now, lastTransitionTime: now };
  }

  function withNew(
    object: CertificateSigningRequest,
    added: CertificateSigningRequestCondition,
  ): CertificateSigningRequest {
    return { ...object, status: { ...object.status, conditions: [...(object.status?.conditions ?? []), added] } };
  }

  /** Whether the requester's roles let it have node certificates approved by themselves. */
  async function mayBeApproved(object: CertificateSigningRequest, subresource: string): Promise<boolean> {
    const { username, uid, groups, extra } = object.spec;
    const resourceAttributes = {
      group: 'certificates.k8s.io',
      resource: 'certificatesigningrequests',
      verb: 'create',
      subresource,
    };
    const review = await client.create<SubjectAccessReview>(subjectaccessreviews, undefined, {
      metadata: {},
      spec: { user: username, uid, groups, extra, resourceAttributes },
    } as Parameters<typeof client.create<SubjectAccessReview>>[2]);
    return review.status?.allowed === true;
  }

  async function approve(object: CertificateSigningRequest, { facts }: CertificateRequest): Promise<void> {
    const { signerName, usages = [], username } = object.spec;
    if (signerName !== kubeletClientSigner || signerFault(signerName, facts, usages) !== undefined) return;
    const kinds = username === facts.commonName ? ['selfnodeclient', 'nodeclient'] : ['nodeclient'];
    for (const kind of kinds) {
      if (!(await mayBeApproved(object, kind))) continue;
      const text =
        kind === 'nodeclient'
          ? 'Auto approving kubelet client certificate after SubjectAccessReview.'
          : 'Auto approving self kubelet client certificate after SubjectAccessReview.';
      const approved = withNew(object, condition('Approved', 'AutoApproved', text));
      await client.updateSubresource(certificatesigningrequests, approved, 'approval');
      return;
    }
  }

  async function sign(object: CertificateSigningRequest, request: CertificateRequest): Promise<void> {
    const { signerName, usages = [], expirationSeconds } = object.spec;
    const fault = signerFault(signerName, request.facts, usages);
    if (fault !== undefined) {
      const failed = withNew(
        object,
        condition('Failed', 'SignerValidationFailure', `invalid usages or subject: ${fault}`),
      );
      await client.updateSubresource(certificatesigningrequests, failed, 'status');
      return;
    }
    const wantedMs = expirationSeconds === undefined ? longestLifetimeMs : expirationSeconds * 1000;
    const lifetimeMs = Math.min(longestLifetimeMs, Math.max(shortestLifetimeMs, wantedMs));
    const pem = await signCertificateRequest(authority, request, usages, { fromMs: clock.now(), lifetimeMs });
    const status = { ...object.status, certificate: Buffer.from(pem).toString('base64') };
    await client.updateSubresource(certificatesigningrequests, { ...object, status }, 'status');
    logger.info({ request: object.metadata.name, signer: signerName }, 'signed a certificate');
  }

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const object = requests.get(key);
    if (object === undefined) return;
    const decided = (object.status?.conditions ?? []).length > 0;
    const ageMs = clock.now() - (parseTime(object.metadata.creationTimestamp) ?? clock.now());
    const leftMs = (decided ? keptMs.decided : keptMs.pending) - ageMs;
    try {
      if (leftMs <= 0) {
        await client.delete(certificatesigningrequests, { name: object.metadata.name });
        return;
      }
      const settled = has(object, 'Denied') || has(object, 'Failed') || object.status?.certificate !== undefined;
      if (!settled && isBuiltInSigner(object.spec.signerName)) {
        const request = await readCertificateRequest(object.spec.request);
        if (has(object, 'Approved')) await sign(object, request);
        else await approve(object, request);
      }
    } catch (error) {
      if (isNotFound(error)) return;
      if (!isConflict(error)) throw error;
      return { requeueAfterMs: 50 };
    }
    return { requeueAfterMs: leftMs };
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 2, signal }) };
  return { name: context.name, run: async (signal) => runGroup([requests, worker], signal) };
}

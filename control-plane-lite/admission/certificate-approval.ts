// CertificateApproval and CertificateSigning: who may approve or sign for a signer.
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { AskingAuthorizer } from '../authz/authorizer.ts';
import { forbidden } from '../registry/status-errors.ts';
import { unlessAllowed } from './ask-authorizer.ts';
import type { AdmissionPlugin } from './plugin.ts';

const verbs: Record<string, string> = { approval: 'approve', status: 'sign' };

/** Needs the verb on the signer's name, or on its domain with a star. */
export function createCertificateApproval(authorizer: AskingAuthorizer): AdmissionPlugin {
  return {
    name: 'CertificateApproval',
    validateByAsking: ({ served, subresource, previous, object, context, name }) => {
      const verb = verbs[subresource];
      if (served.stored.kind !== 'CertificateSigningRequest' || verb === undefined) return undefined;
      const [before, now] = [previous, object] as (KubeObject & CertificateSigningRequest)[];
      if (subresource === 'status' && before?.status?.certificate === now?.status?.certificate) return undefined;
      const signer = before?.spec.signerName ?? '';
      const accesses = [signer, `${signer.slice(0, signer.indexOf('/'))}/*`].map((each) => ({
        isResource: true as const,
        ...{ verb, group: 'certificates.k8s.io', version: '*', resource: 'signers', subresource: '' },
        ...{ namespace: '', name: each },
      }));
      return unlessAllowed(authorizer, context.user, accesses, () => {
        const action = verb === 'approve' ? 'approve' : 'sign';
        throw forbidden(
          served.resource,
          name,
          `user not permitted to ${action} requests with signerName ${JSON.stringify(signer)}`,
        );
      });
    },
  };
}

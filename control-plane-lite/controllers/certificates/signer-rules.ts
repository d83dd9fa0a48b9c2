// What the built-in signers sign, and what the agent's own requests look like. Pure.
// Source: Kubernetes documentation, Certificate Signing Requests, and pkg/apis/certificates/helpers.go.

/** Client certificates of users and programs. */
export const clientSigner = 'kubernetes.io/kube-apiserver-client';
/** Client certificates of nodes. */
export const kubeletClientSigner = 'kubernetes.io/kube-apiserver-client-kubelet';
/** Serving certificates of nodes. */
export const kubeletServingSigner = 'kubernetes.io/kubelet-serving';

/** The readable part of a certificate request. */
export interface RequestFacts {
  commonName: string;
  organizations: readonly string[];
  dnsNames: readonly string[];
  ipAddresses: readonly string[];
  emailAddresses: readonly string[];
  uris: readonly string[];
}

function usageFault(usages: readonly string[], required: string): string | undefined {
  const allowed = new Set([required, 'digital signature', 'key encipherment']);
  if (usages.some((usage) => !allowed.has(usage))) return `usages did not match [${[...allowed].sort().join(' ')}]`;
  if (!usages.includes(required)) return `usage ${required} is required`;
  return usages.includes('digital signature') ? undefined : 'usage digital signature is required';
}

function nodeSubjectFault({ commonName, organizations }: RequestFacts): string | undefined {
  if (organizations.length !== 1 || organizations[0] !== 'system:nodes')
    return 'subject organization is not system:nodes';
  return commonName.startsWith('system:node:') ? undefined : 'subject common name does not begin with system:node:';
}

/** Why the signer does not sign the request; undefined when it does. Unknown signers are not judged here. */
export function signerFault(signerName: string, facts: RequestFacts, usages: readonly string[]): string | undefined {
  const { dnsNames, ipAddresses, emailAddresses, uris } = facts;
  switch (signerName) {
    case clientSigner:
      if (usages.includes('client auth')) {
        const allowed = new Set(['client auth', 'digital signature', 'key encipherment']);
        return usages.every((usage) => allowed.has(usage)) ? undefined : 'usages are not those of a client';
      }
      return 'usage client auth is required';
    case kubeletClientSigner:
      if (dnsNames.length > 0) return 'DNS subjectAltNames are not allowed';
      if (emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
      if (ipAddresses.length > 0) return 'IP subjectAltNames are not allowed';
      if (uris.length > 0) return 'URI subjectAltNames are not allowed';
      return nodeSubjectFault(facts) ?? usageFault(usages, 'client auth');
    case kubeletServingSigner:
      if (dnsNames.length + ipAddresses.length === 0) return 'DNS or IP subjectAltName is required';
      if (emailAddresses.length > 0) return 'Email subjectAltNames are not allowed';
      if (uris.length > 0) return 'URI subjectAltNames are not allowed';
      return nodeSubjectFault(facts) ?? usageFault(usages, 'server auth');
    default:
      return undefined;
  }
}

/** Whether the control plane itself signs for this signer. */
export function isBuiltInSigner(signerName: string): boolean {
  return [clientSigner, kubeletClientSigner, kubeletServingSigner].includes(signerName);
}

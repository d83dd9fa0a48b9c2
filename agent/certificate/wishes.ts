// The two certificates a node asks for, in the form their signers insist on.
import type { CertificateWish } from './obtain-certificate.ts';

/** By which the agent is known to the API server. */
export function clientWish(nodeName: string): CertificateWish {
  return {
    commonName: `system:node:${nodeName}`,
    organizations: ['system:nodes'],
    signerName: 'kubernetes.io/kube-apiserver-client-kubelet',
    usages: ['digital signature', 'client auth'],
  };
}

/** By which the agent's server is known. */
export function servingWish(
  nodeName: string,
  addresses: { dnsNames: readonly string[]; ipAddresses: readonly string[] },
): CertificateWish {
  return {
    commonName: `system:node:${nodeName}`,
    organizations: ['system:nodes'],
    ...addresses,
    signerName: 'kubernetes.io/kubelet-serving',
    usages: ['digital signature', 'server auth'],
  };
}

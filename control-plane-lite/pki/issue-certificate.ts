// Certificates issued by the cluster's authority on demand, in memory: nodes, proxies, controllers.
import { clientAuth, issueLeaf, type KeyPair, serverAuth } from './certificate-authority.ts';
import type { ClusterPki } from './cluster-pki.ts';

/** A client certificate: the common name is the user, the organizations are its groups. */
export async function issueClientCertificate(
  pki: Pick<ClusterPki, 'ca'>,
  subject: { commonName: string; organizations?: readonly string[] },
  nowMs = Date.now(),
): Promise<KeyPair> {
  return await issueLeaf(pki.ca, { ...subject, usages: [clientAuth] }, nowMs);
}

/** A serving certificate for the names and addresses given. */
export async function issueServingCertificate(
  pki: Pick<ClusterPki, 'ca'>,
  subject: {
    commonName: string;
    organizations?: readonly string[];
    dnsNames: readonly string[];
    ipAddresses: readonly string[];
  },
  nowMs = Date.now(),
): Promise<KeyPair> {
  return await issueLeaf(pki.ca, { ...subject, usages: [serverAuth] }, nowMs);
}

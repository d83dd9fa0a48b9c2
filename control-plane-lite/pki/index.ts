// The edge of pki/ for the command line and the wiring.
export type { KeyPair } from './certificate-authority.ts';
export { type ClusterPki, type ClusterPkiOptions, ensureClusterPki } from './cluster-pki.ts';
export { issueClientCertificate, issueServingCertificate } from './issue-certificate.ts';
export { type KubeconfigContent, writeKubeconfig } from './write-kubeconfig.ts';

// The first client certificate of a node, or the next one after the last was lost or ran out: asked for with the
// bootstrap kubeconfig, and a kubeconfig that names it (pkg/kubelet/certificate/bootstrap).
import { X509Certificate } from 'node:crypto';
import { existsSync } from 'node:fs';
import type { Logger } from 'pino';
import { stringify } from 'yaml';
import { createClient } from '#kube/client/create-client.ts';
import { readKubeconfig } from '#kube/client/kubeconfig.ts';
import type { CredentialTools, Kubeconfig } from '#kube/client/kubeconfig-types.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { replaceFile } from '#kube/process/replace-file.ts';
import type { CertificateStore } from './certificate-store.ts';
import { type CertificateWish, type IssuedCertificate, obtainCertificate } from './obtain-certificate.ts';

export interface BootstrapOptions {
  kubeconfig: string;
  bootstrapKubeconfig: string;
  store: CertificateStore;
  wish: CertificateWish;
  tools: CredentialTools;
  logger: Logger;
}

/** Whether the kubeconfig leads to credentials that can still be used. */
async function isUsable(path: string, tools: CredentialTools): Promise<boolean> {
  if (!existsSync(path)) return false;
  try {
    const identity = await loadClientConfig(tools, path).credentials?.current();
    if (identity?.certificate === undefined) return identity?.authorization !== undefined;
    return Date.parse(new X509Certificate(identity.certificate.certPem).validTo) > tools.clock.now();
  } catch {
    // What it names is missing or damaged.
    return false;
  }
}

/** The kubeconfig of a node, as a kubelet writes it: the cluster of the bootstrap one, the certificate by its path. */
export function nodeKubeconfig(bootstrap: Kubeconfig, certificatePath: string): Kubeconfig {
  const current = bootstrap['current-context'];
  const context = bootstrap.contexts.find(({ name }) => name === current)?.context ?? bootstrap.contexts[0]?.context;
  const cluster = bootstrap.clusters.find(({ name }) => name === context?.cluster)?.cluster;
  if (cluster === undefined) throw new Error('the bootstrap kubeconfig names no cluster');
  const user = { 'client-certificate': certificatePath, 'client-key': certificatePath };
  return {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'default-cluster', cluster }],
    users: [{ name: 'default-auth', user }],
    contexts: [
      { name: 'default-context', context: { cluster: 'default-cluster', user: 'default-auth', namespace: 'default' } },
    ],
    'current-context': 'default-context',
  };
}

/** Asks for a client certificate with the credentials of the bootstrap kubeconfig. */
export async function obtainByBootstrap(
  { bootstrapKubeconfig, wish, tools }: Pick<BootstrapOptions, 'bootstrapKubeconfig' | 'wish' | 'tools'>,
  signal: AbortSignal,
): Promise<IssuedCertificate> {
  const client = createClient({
    ...loadClientConfig(tools, bootstrapKubeconfig),
    name: 'kubelet-bootstrap',
    clock: tools.clock,
  });
  try {
    return await obtainCertificate(client, wish, tools.clock, signal);
  } finally {
    await client.close();
  }
}

/** Makes sure that the kubeconfig can be used. Throws what kept it from a certificate. */
export async function bootstrapClient(options: BootstrapOptions, signal: AbortSignal): Promise<void> {
  const { kubeconfig, bootstrapKubeconfig, store, tools, logger } = options;
  if (await isUsable(kubeconfig, tools)) return;
  logger.info({ bootstrapKubeconfig }, 'asking for a client certificate');
  const { certPem, keyPem } = await obtainByBootstrap(options, signal);
  await store.save(certPem, keyPem, tools.clock.now());
  const content = nodeKubeconfig(readKubeconfig(bootstrapKubeconfig), store.currentPath);
  await replaceFile(kubeconfig, stringify(content, { lineWidth: 0 }), { directoryMode: 0o755 });
}

// By which credentials the agent reaches the API server: those of its kubeconfig, asked for first where there are none,
// and kept in files of their own where they are to be renewed.
import type { Logger } from 'pino';
import type { ClientConfig } from '#kube/client/config.ts';
import { certificateFileCredentials } from '#kube/client/credentials.ts';
import type { CredentialTools } from '#kube/client/kubeconfig-types.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { bootstrapClient, obtainByBootstrap } from './bootstrap-client.ts';
import { type CertificateStore, createCertificateStore } from './certificate-store.ts';
import type { IssuedCertificate } from './obtain-certificate.ts';
import { clientWish } from './wishes.ts';

export interface IdentityOptions {
  nodeName: string;
  kubeconfig: string | undefined;
  bootstrapKubeconfig: string | undefined;
  certDir: string;
  rotate: boolean;
  tools: CredentialTools;
  logger: Logger;
}

export interface ClientIdentity {
  config: ClientConfig;
  /** Where renewed certificates go; undefined when they are not renewed. */
  store: CertificateStore | undefined;
  recover: ((signal: AbortSignal) => Promise<IssuedCertificate>) | undefined;
}

/** Throws ClientConfigError, or what kept the node from its first certificate. */
export async function resolveClientIdentity(options: IdentityOptions, signal: AbortSignal): Promise<ClientIdentity> {
  const { kubeconfig, bootstrapKubeconfig, tools, logger } = options;
  const store = createCertificateStore(options.certDir, 'kubelet-client');
  const wish = clientWish(options.nodeName);
  const bootstrap = bootstrapKubeconfig === undefined || bootstrapKubeconfig === '' ? undefined : bootstrapKubeconfig;
  if (kubeconfig !== undefined && bootstrap !== undefined) {
    await bootstrapClient({ kubeconfig, bootstrapKubeconfig: bootstrap, store, wish, tools, logger }, signal);
  }
  const config = loadClientConfig(tools, kubeconfig);
  const certificate = options.rotate ? (await config.credentials?.current(signal))?.certificate : undefined;
  if (certificate === undefined) return { config, store: undefined, recover: undefined };
  // A certificate from elsewhere, such as one inside the kubeconfig, is the first of its line.
  if ((await store.load()) === undefined) {
    await store.save(certificate.certPem, certificate.keyPem, tools.clock.now());
  }
  const credentials = certificateFileCredentials(store.currentPath, store.currentPath, tools);
  const recover =
    bootstrap === undefined
      ? undefined
      : (stop: AbortSignal) => obtainByBootstrap({ bootstrapKubeconfig: bootstrap, wish, tools }, stop);
  return { config: { ...config, credentials }, store, recover };
}

// Finds the client configuration of a process: an explicit file, KUBECONFIG, the pod it runs in, ~/.kube/config.
import { existsSync, readFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { type ClientConfig, ClientConfigError } from './config.ts';
import { tokenFileCredentials } from './credentials.ts';
import { clientConfigOf, readKubeconfigs } from './kubeconfig.ts';
import type { CredentialTools } from './kubeconfig-types.ts';

const serviceAccountDir = '/var/run/secrets/kubernetes.io/serviceaccount';

/** The configuration of a program in a pod: service environment and mounted token. Throws ClientConfigError outside. */
export function inClusterConfig(tools: CredentialTools, dir = serviceAccountDir): ClientConfig {
  const host = tools.env['KUBERNETES_SERVICE_HOST'];
  const port = tools.env['KUBERNETES_SERVICE_PORT'];
  if (host === undefined || host === '' || port === undefined || port === '') {
    throw new ClientConfigError('not in a pod: KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set');
  }
  const read = (name: string): string | undefined => {
    const path = join(dir, name);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  };
  return {
    servers: [`https://${host.includes(':') ? `[${host}]` : host}:${port}`],
    caPem: read('ca.crt'),
    namespace: read('namespace')?.trim(),
    credentials: tokenFileCredentials(join(dir, 'token'), tools),
  };
}

/**
 * The configuration in upstream's order of precedence: `path`, KUBECONFIG (a list), in-cluster, the home directory.
 * Throws ClientConfigError when none is usable.
 */
export function loadClientConfig(tools: CredentialTools, path?: string, context?: string): ClientConfig {
  if (path !== undefined && path !== '') return clientConfigOf(readKubeconfigs([path]), tools, context);
  const listed = (tools.env['KUBECONFIG'] ?? '').split(delimiter).filter((entry) => entry !== '');
  if (listed.length > 0) return clientConfigOf(readKubeconfigs(listed), tools, context);
  if ((tools.env['KUBERNETES_SERVICE_HOST'] ?? '') !== '') return inClusterConfig(tools);
  const home = join(tools.env['HOME'] ?? '/root', '.kube', 'config');
  if (existsSync(home)) return clientConfigOf(readKubeconfigs([home]), tools, context);
  throw new ClientConfigError('no kubeconfig: give --kubeconfig, set KUBECONFIG, or run in a pod');
}

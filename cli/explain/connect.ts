// The API server that `berth explain` and `berth retry` ask: as kubectl finds it, else the cluster of this machine.
import { existsSync } from 'node:fs';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';

const ownKubeconfig = '/etc/berth/admin.kubeconfig';

/** Options that all commands have which talk to a cluster. */
export interface ConnectOptions {
  kubeconfig?: string;
  context?: string;
}

/** The file to read; undefined: where kubectl looks. */
export function kubeconfigPath(options: ConnectOptions): string | undefined {
  const named = options.kubeconfig ?? process.env['KUBECONFIG'] ?? '';
  return named === '' && existsSync(ownKubeconfig) ? ownKubeconfig : options.kubeconfig;
}

/** Connects; the caller closes the client. Throws ClientConfigError where there is nothing to connect to. */
export function connect(options: ConnectOptions): ApiClient {
  const path = kubeconfigPath(options);
  const tools = { clock: systemClock, exec: systemExec, env: process.env };
  return createClient({ ...loadClientConfig(tools, path, options.context), name: 'berth', clock: systemClock });
}

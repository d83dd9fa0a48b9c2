// `berth token create`: prints the line that joins a node.

import { loadClientConfig } from '#kube/client/load-config.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';
import { type ConnectOptions, connect, kubeconfigPath } from '../explain/connect.ts';
import { createToken } from './create-token.ts';

/** Creates a token and prints how to use it. */
export async function runTokenCreate(options: ConnectOptions & { ttl: string; server?: string[] }): Promise<void> {
  const tools = { clock: systemClock, exec: systemExec, env: process.env };
  const { servers, caPem } = loadClientConfig(tools, kubeconfigPath(options), options.context);
  const named = options.server ?? servers;
  const [server] = named;
  if (server === undefined || caPem === undefined) {
    throw new UsageError('the kubeconfig names no server or no authority: nodes could not tell the cluster');
  }
  const client = connect(options);
  try {
    const ttlMs = options.ttl === '0' ? 0 : parseDurationMs(options.ttl);
    const { token, pin } = await createToken(client, { server, caPem }, { ttlMs, nowMs: systemClock.now() });
    process.stdout.write(`berth join ${named.join(' ')} --token ${token} --discovery-token-ca-cert-hash ${pin}\n`);
  } finally {
    await client.close();
  }
}

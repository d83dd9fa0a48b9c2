// Writes a kubeconfig with one cluster, one user and one context, readable by its owner only.
import { stringify } from 'yaml';
import { replaceFile } from '#kube/process/replace-file.ts';
import type { KeyPair } from './certificate-authority.ts';

export interface KubeconfigContent {
  /** For example https://127.0.0.1:6443. */
  server: string;
  caPem: string;
  client: KeyPair;
  user: string;
  cluster?: string;
}

const base64 = (pem: string): string => Buffer.from(pem).toString('base64');

/** Replaces the file at `path` atomically; its folder is made when missing. */
export async function writeKubeconfig(path: string, content: KubeconfigContent): Promise<void> {
  const cluster = content.cluster ?? 'berth';
  const context = `${content.user}@${cluster}`;
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [
      { name: cluster, cluster: { server: content.server, 'certificate-authority-data': base64(content.caPem) } },
    ],
    users: [
      {
        name: content.user,
        user: {
          'client-certificate-data': base64(content.client.certPem),
          'client-key-data': base64(content.client.keyPem),
        },
      },
    ],
    contexts: [{ name: context, context: { cluster, user: content.user } }],
    'current-context': context,
  };
  await replaceFile(path, stringify(config, { lineWidth: 0 }), { directoryMode: 0o755 });
}

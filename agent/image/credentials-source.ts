// Where a pod's registry credentials come from: its pull secrets, and the node's own configuration.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { ObjectCache } from '../volume/object-cache.ts';
import { credentialsOfSecret, parseDockerConfig, type RegistryCredential } from './pull-credentials.ts';

/** Reads them anew for each pull; secrets that do not exist are passed over, as kubelet does. */
export function createCredentialsSource(
  objects: ObjectCache,
  rootDir: string,
): (pod: Pod) => Promise<RegistryCredential[]> {
  return async (pod) => {
    const { uid = '', namespace = '' } = pod.metadata;
    const secrets = await Promise.all(
      (pod.spec.imagePullSecrets ?? []).map(({ name = '' }) => objects.secret(uid, namespace, name)),
    );
    const node = await readFile(join(rootDir, 'config.json'), 'utf8').catch(() => '');
    return [
      ...secrets.flatMap((secret) => (secret === undefined ? [] : credentialsOfSecret(secret))),
      ...parseDockerConfig(node, false),
    ];
  };
}

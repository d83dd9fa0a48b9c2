// Where a pod's registry credentials come from: its pull secrets, credential providers, the node's configuration.
import { homedir } from 'node:os';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { ObjectCache } from '../volume/object-cache.ts';
import { nodeCredentialFiles, readNodeCredentials } from './node-credentials.ts';
import type { CredentialProvider } from './provider/credential-provider.ts';
import { credentialsOfSecret, type RegistryCredential } from './pull-credentials.ts';

/** Credentials that a pod may use for an image, fitting or not. */
export type CredentialsSource = (pod: Pod, image: string) => Promise<RegistryCredential[]>;

/** Reads them anew for each pull; secrets that do not exist are passed over, as kubelet does. */
export function createCredentialsSource(
  objects: Pick<ObjectCache, 'secret'>,
  rootDir: string,
  providers: readonly CredentialProvider[] = [],
): CredentialsSource {
  const files = nodeCredentialFiles(rootDir, process.cwd(), homedir());
  return async (pod, image) => {
    const { uid = '', namespace = '' } = pod.metadata;
    const secrets = await Promise.all(
      (pod.spec.imagePullSecrets ?? []).map(({ name = '' }) => objects.secret(uid, namespace, name)),
    );
    const provided = await Promise.all(providers.map((provider) => provider(pod, image)));
    const node = await readNodeCredentials(files);
    return [
      ...secrets.flatMap((secret) => (secret === undefined ? [] : credentialsOfSecret(secret))),
      ...provided.flat(),
      ...node,
    ];
  };
}

// Secrets and service account tokens on their way to a driver: read when they are needed, never kept, never logged.
import type { Pod, SecretReference } from '#kube/api/generated/core-v1.ts';
import { secrets } from '#kube/api/generated/resources.ts';
import type { CSIDriver } from '#kube/api/generated/storage-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { VolumeError } from '../payload.ts';
import type { TokenManager } from '../token-manager.ts';

const tokensKey = 'csi.storage.k8s.io/serviceAccount.tokens';
const defaultTokenSeconds = 3600;

/** The fields of a secret as text. Throws VolumeError when it cannot be read. */
export async function readCsiSecret(
  client: ApiClient,
  reference: SecretReference | undefined,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  if (reference === undefined) return {};
  const { name = '', namespace } = reference;
  const secret = await client.get(secrets, { namespace, name }, { signal }).catch((error: Error) => {
    signal.throwIfAborted();
    throw new VolumeError(
      `failed to find the secret ${name} in the namespace ${namespace} with error: ${error.message}`,
      {
        cause: error,
      },
    );
  });
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  );
}

/** Tokens of the pod's service account for the audiences that the driver asks for; nothing where it asks for none. */
export async function csiTokens(
  tokens: TokenManager,
  pod: Pod,
  described: CSIDriver | undefined,
  signal: AbortSignal,
): Promise<Record<string, string>> {
  const requests = described?.spec.tokenRequests ?? [];
  if (requests.length === 0) return {};
  const byAudience: Record<string, { token: string; expirationTimestamp: string }> = {};
  for (const { audience, expirationSeconds = defaultTokenSeconds } of requests) {
    const { token, expiresAtMs } = await tokens.issue(pod, { audience, expirationSeconds }, signal);
    byAudience[audience] = { token, expirationTimestamp: formatTime(expiresAtMs) ?? '' };
  }
  return { [tokensKey]: JSON.stringify(byAudience) };
}

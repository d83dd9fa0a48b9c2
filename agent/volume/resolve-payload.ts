// Collects the files of configMap, secret, downwardAPI and projected volumes from the objects they name.
import type { Pod, Volume, VolumeProjection } from '#kube/api/generated/core-v1.ts';
import type { DownwardSettings } from '../container/downward-value.ts';
import { containersOf } from '../container/pod-containers.ts';
import type { ObjectCache } from './object-cache.ts';
import { configMapPayload, downwardPayload, secretPayload } from './object-payload.ts';
import { type Payload, type PayloadFile, VolumeError } from './payload.ts';
import type { TokenManager } from './token-manager.ts';
import type { TrustBundles } from './trust-bundles.ts';

const defaultMode = 0o644;
const defaultTokenSeconds = 3600;

/** Where files come from. */
export interface PayloadSources {
  objects: ObjectCache;
  tokens: TokenManager;
  trustBundles: TrustBundles;
  downward(pod: Pod): DownwardSettings;
  /** The API server has been away since the agent started. */
  isOffline?: () => boolean;
}

/** The volume that the API server adds to pods for its own clients. */
const apiAccessPrefix = 'kube-api-access-';

/** The user all containers run as, where it is one and the same. */
function commonUser(pod: Pod): number | undefined {
  const users = containersOf(pod)
    .filter(({ kind }) => kind !== 'ephemeral')
    .map(({ container }) => container.securityContext?.runAsUser ?? pod.spec.securityContext?.runAsUser);
  const [first] = users;
  return users.every((user) => user === first) ? first : undefined;
}

/** A file for the pod's user alone, or through the group for the pod. */
function personalFile(pod: Pod, text: string, mode: number): PayloadFile {
  const uid = commonUser(pod);
  const own = uid !== undefined || pod.spec.securityContext?.fsGroup !== undefined;
  return { content: Buffer.from(text), mode: own ? 0o600 : mode, uid };
}

async function configMapFiles(
  pod: Pod,
  source: NonNullable<Volume['configMap']>,
  mode: number,
  { objects }: PayloadSources,
  signal: AbortSignal,
): Promise<Payload> {
  const { name = '', items, optional = false } = source;
  const object = await objects.configMap(pod.metadata.uid ?? '', pod.metadata.namespace ?? '', name, signal);
  if (object === undefined && !optional) throw new VolumeError(`configmap "${name}" not found`);
  return configMapPayload(object, { items, defaultMode: mode, optional });
}

async function secretFiles(
  pod: Pod,
  source: { name: string; items: NonNullable<Volume['secret']>['items']; optional: boolean },
  mode: number,
  { objects }: PayloadSources,
  signal: AbortSignal,
): Promise<Payload> {
  const { name, items, optional } = source;
  const object = await objects.secret(pod.metadata.uid ?? '', pod.metadata.namespace ?? '', name, signal);
  if (object === undefined && !optional) throw new VolumeError(`secret "${name}" not found`);
  return secretPayload(object, { items, defaultMode: mode, optional });
}

async function projectionFiles(
  pod: Pod,
  source: VolumeProjection,
  mode: number,
  sources: PayloadSources,
  signal: AbortSignal,
): Promise<Payload> {
  const { configMap, secret, downwardAPI, serviceAccountToken, clusterTrustBundle } = source;
  if (configMap !== undefined) return configMapFiles(pod, configMap, mode, sources, signal);
  if (secret !== undefined) {
    const { name = '', items, optional = false } = secret;
    return secretFiles(pod, { name, items, optional }, mode, sources, signal);
  }
  if (downwardAPI !== undefined) return downwardPayload(pod, downwardAPI.items ?? [], mode, sources.downward(pod));
  if (serviceAccountToken !== undefined) {
    const { audience, expirationSeconds = defaultTokenSeconds, path } = serviceAccountToken;
    const token = await sources.tokens.token(pod, { audience, expirationSeconds }, signal);
    return new Map([[path, personalFile(pod, token, mode)]]);
  }
  if (clusterTrustBundle !== undefined) {
    const anchors = await sources.trustBundles.anchors(pod.metadata.uid ?? '', clusterTrustBundle);
    return new Map([[clusterTrustBundle.path, personalFile(pod, anchors, mode)]]);
  }
  throw new VolumeError('a source of the projected volume names nothing that this node supports');
}

/** The files of the volume, or undefined when it is not made from objects. Throws VolumeError. */
export async function resolvePayload(
  pod: Pod,
  volume: Volume,
  sources: PayloadSources,
  signal: AbortSignal,
): Promise<Payload | undefined> {
  const { configMap, secret, downwardAPI, projected } = volume;
  if (configMap !== undefined) {
    return configMapFiles(pod, configMap, configMap.defaultMode ?? defaultMode, sources, signal);
  }
  if (secret !== undefined) {
    const { secretName = '', items, optional = false } = secret;
    return secretFiles(pod, { name: secretName, items, optional }, secret.defaultMode ?? defaultMode, sources, signal);
  }
  if (downwardAPI !== undefined) {
    return downwardPayload(pod, downwardAPI.items ?? [], downwardAPI.defaultMode ?? defaultMode, sources.downward(pod));
  }
  if (projected !== undefined) {
    const payload: Payload = new Map();
    const isOffline = sources.isOffline?.() === true;
    for (const source of projected.sources ?? []) {
      // For talking to a server that is away: it follows when that is back, and the pod need not wait for it.
      if (isOffline && volume.name.startsWith(apiAccessPrefix) && source.downwardAPI === undefined) continue;
      const files = await projectionFiles(pod, source, projected.defaultMode ?? defaultMode, sources, signal);
      for (const [path, file] of files) payload.set(path, file);
    }
    return payload;
  }
  return undefined;
}

// Writes a pod's node. Where the answer was lost, the pod itself says whether it has one.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods as podResource } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound, StatusError } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { PodInfo } from './framework/pod-info.ts';

export type BindResult =
  | { outcome: 'bound'; node: string }
  /** The pod is gone, or another one has its name. */
  | { outcome: 'gone' }
  | { outcome: 'failed'; error: unknown };

export interface BindDeps {
  client: ApiClient;
  clock: Clock;
  signal: AbortSignal;
}

const askAgainMs = 500;

/** Throws only when the signal is aborted. */
export async function bindPod({ client, clock, signal }: BindDeps, info: PodInfo, node: string): Promise<BindResult> {
  const { namespace, name, uid } = info.pod.metadata;
  const key = { namespace, name };
  let error: unknown;
  try {
    const target = { kind: 'Node', name: node };
    const body = { apiVersion: 'v1', kind: 'Binding', metadata: { namespace, name, uid }, target };
    await client.createSubresource(podResource, key, 'binding', body, { signal });
    return { outcome: 'bound', node };
  } catch (caught) {
    signal.throwIfAborted();
    error = caught;
  }
  if (isNotFound(error)) return { outcome: 'gone' };
  // What was refused is known; what was not answered may have been done, and its place stays taken until that is known.
  const isRefused = error instanceof StatusError && error.httpCode < 500 && ![409, 429].includes(error.httpCode);
  while (!isRefused) {
    try {
      const current: Pod = await client.get(podResource, key, { signal });
      if (current.metadata.uid !== uid) return { outcome: 'gone' };
      const actual = current.spec?.nodeName ?? '';
      return actual === '' ? { outcome: 'failed', error } : { outcome: 'bound', node: actual };
    } catch (caught) {
      signal.throwIfAborted();
      if (isNotFound(caught)) return { outcome: 'gone' };
      await clock.sleep(askAgainMs, signal);
    }
  }
  return { outcome: 'failed', error };
}

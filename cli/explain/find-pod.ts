// A pod as the user names it: NAMESPACE/NAME, or NAME in the namespace default.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound } from '#kube/errors/status-error.ts';
import { UsageError } from '#kube/process/flags.ts';

/** Splits the name. Throws UsageError. */
export function parsePodName(text: string): { namespace: string; name: string } {
  const parts = text.replace(/^pods?\//, '').split('/');
  const [first = '', second] = parts;
  const key = second === undefined ? { namespace: 'default', name: first } : { namespace: first, name: second };
  if (parts.length > 2 || key.name === '' || key.namespace === '') {
    throw new UsageError(`"${text}" is not a pod: write NAMESPACE/NAME`);
  }
  return key;
}

/** Gets the pod. Throws UsageError when there is none. */
export async function findPod(client: ApiClient, text: string, signal: AbortSignal): Promise<Pod> {
  const key = parsePodName(text);
  try {
    return await client.get(pods, key, { signal });
  } catch (error) {
    if (!isNotFound(error)) throw error;
    throw new UsageError(`there is no pod "${key.name}" in namespace "${key.namespace}"`);
  }
}

/** The path of a question to the agent of a pod's node, through the API server. */
export function nodePath(pod: Pod, verb: 'explain' | 'retry'): string {
  const { name, namespace = '' } = pod.metadata;
  const parts = [pod.spec.nodeName ?? '', 'proxy', verb, namespace, name].map(encodeURIComponent);
  return `/api/v1/nodes/${parts.join('/')}`;
}

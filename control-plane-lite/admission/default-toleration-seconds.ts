// DefaultTolerationSeconds: a pod stays five minutes on a node that is not ready or not reachable.
import type { Toleration } from '#kube/api/generated/core-v1.ts';
import type { AdmissionPlugin } from './plugin.ts';
import { createdPod } from './pod-request.ts';

const keys = ['node.kubernetes.io/not-ready', 'node.kubernetes.io/unreachable'];
const defaultSeconds = 300;

function tolerates(tolerations: readonly Toleration[], key: string): boolean {
  return tolerations.some(
    (each) =>
      ((each.key ?? '') === '' || each.key === key) && ((each.effect ?? '') === '' || each.effect === 'NoExecute'),
  );
}

export const defaultTolerationSeconds: AdmissionPlugin = {
  name: 'DefaultTolerationSeconds',
  mutate: (request) => {
    const pod = createdPod(request);
    if (pod === undefined) return;
    const tolerations = pod.spec.tolerations ?? [];
    const added = keys
      .filter((key) => !tolerates(tolerations, key))
      .map((key) => ({ key, operator: 'Exists', effect: 'NoExecute', tolerationSeconds: defaultSeconds }));
    if (added.length > 0) pod.spec.tolerations = [...tolerations, ...added];
  },
};

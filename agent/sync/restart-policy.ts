// Whether a container that does not run should run again (pkg/kubelet/container/helpers.go, with KEP-5307's rules).
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { RuntimeContainer } from '../runtime-cache/pod-runtime.ts';

function ruleSaysRestart(container: Container, exitCode: number): boolean {
  return (container.restartPolicyRules ?? []).some(({ action, exitCodes }) => {
    if (action !== 'Restart' || exitCodes === undefined) return false;
    const listed = (exitCodes.values ?? []).includes(exitCode);
    return exitCodes.operator === 'In' ? listed : exitCodes.operator === 'NotIn' && !listed;
  });
}

/** The policy that holds for a container: its own, or the pod's. */
export function restartPolicyOf(pod: Pod, container: Container): string {
  return container.restartPolicy ?? pod.spec.restartPolicy ?? 'Always';
}

/**
 * `latest` is the newest run, undefined when there was none. With `newSandbox` a run that lost its sandbox counts as
 * ended even if its end was not seen.
 */
export function shouldRestart(
  pod: Pod,
  container: Container,
  latest: RuntimeContainer | undefined,
  newSandbox = false,
): boolean {
  if (pod.metadata.deletionTimestamp !== undefined) return false;
  if (latest === undefined) return true;
  if (latest.state === 'running') return newSandbox;
  if (latest.state === 'created' || latest.state === 'unknown') return true;
  if (isSidecar(container) || ruleSaysRestart(container, latest.exitCode)) return true;
  switch (restartPolicyOf(pod, container)) {
    case 'Never':
      return false;
    case 'OnFailure':
      return latest.exitCode !== 0;
    default:
      return true;
  }
}

// Whether a container that does not run should run again (pkg/kubelet/container/helpers.go, with KEP-5307's rules).
import type { Container, ContainerRestartRule, Pod } from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import type { RuntimeContainer } from '../runtime-cache/pod-runtime.ts';

/** The first rule of the container that speaks of this exit code. */
export function matchingRule(container: Container, exitCode: number): ContainerRestartRule | undefined {
  return (container.restartPolicyRules ?? []).find(({ exitCodes }) => {
    if (exitCodes === undefined) return false;
    const listed = (exitCodes.values ?? []).includes(exitCode);
    return exitCodes.operator === 'In' ? listed : exitCodes.operator === 'NotIn' && !listed;
  });
}

/** True for pods in which the end of one container can start all of them again. */
export function mayRestartAll(pod: Pod): boolean {
  return [...(pod.spec.initContainers ?? []), ...pod.spec.containers].some(({ restartPolicyRules }) =>
    (restartPolicyRules ?? []).some(({ action }) => action === 'RestartAllContainers'),
  );
}

/** The policy that holds for a container: its own, or the pod's. */
export function restartPolicyOf(pod: Pod, container: Container): string {
  return container.restartPolicy ?? pod.spec.restartPolicy ?? 'Always';
}

/** Whether any ordinary container of the pod could run again after it failed. */
export function mayRestart(pod: Pod): boolean {
  return pod.spec.containers.some(
    (container) => (container.restartPolicyRules ?? []).length > 0 || restartPolicyOf(pod, container) !== 'Never',
  );
}

/** Whether a container that ended with this code runs again: by its rules, its own policy, or the pod's. */
export function restartsAfterExit(pod: Pod, container: Container, exitCode: number): boolean {
  if (isSidecar(container) && findInit(pod, container.name)) return true;
  const action = matchingRule(container, exitCode)?.action;
  if (action === 'Restart' || action === 'RestartAllContainers') return true;
  switch (restartPolicyOf(pod, container)) {
    case 'Never':
      return false;
    case 'OnFailure':
      return exitCode !== 0;
    default:
      return true;
  }
}

function findInit(pod: Pod, name: string): boolean {
  return (pod.spec.initContainers ?? []).some((item) => item.name === name);
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
  return restartsAfterExit(pod, container, latest.exitCode);
}

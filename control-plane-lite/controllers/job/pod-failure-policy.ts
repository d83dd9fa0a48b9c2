// What a job's podFailurePolicy says about a failed pod. Pure.
// Source: KEP-3329, Retriable and non-retriable Pod failures.
import type { Job, PodFailurePolicyRule } from '#kube/api/generated/batch-v1.ts';
import type { ContainerStatus, Pod } from '#kube/api/generated/core-v1.ts';

export interface FailureVerdict {
  action: 'Count' | 'Ignore' | 'FailIndex' | 'FailJob';
  /** Why the job fails; set with FailJob. */
  message?: string;
}

function matchingContainer({ onExitCodes }: PodFailurePolicyRule, pod: Pod): ContainerStatus | undefined {
  if (onExitCodes === undefined) return undefined;
  const { containerName, operator, values } = onExitCodes;
  const statuses = [...(pod.status?.containerStatuses ?? []), ...(pod.status?.initContainerStatuses ?? [])];
  return statuses.find(({ name, state }) => {
    const exitCode = state?.terminated?.exitCode;
    if (exitCode === undefined || exitCode === 0 || (containerName !== undefined && containerName !== name))
      return false;
    return values.includes(exitCode) === (operator === 'In');
  });
}

/** The action of the first rule that matches; a failure that no rule matches counts. */
export function judgeFailure(job: Job, pod: Pod): FailureVerdict {
  const { namespace, name } = pod.metadata;
  for (const [index, rule] of (job.spec.podFailurePolicy?.rules ?? []).entries()) {
    if (pod.status?.phase !== 'Failed') break;
    const { action } = rule;
    const container = matchingContainer(rule, pod);
    const condition = (rule.onPodConditions ?? []).find(({ type, status }) =>
      pod.status?.conditions?.some((candidate) => candidate.type === type && candidate.status === (status ?? 'True')),
    );
    if (container === undefined && condition === undefined) continue;
    if (action === 'FailJob') {
      const subject =
        container === undefined
          ? `Pod ${namespace}/${name} has condition ${condition?.type} matching ${action} rule at index ${index}`
          : `Container ${container.name} for pod ${namespace}/${name} failed with exit code ${container.state?.terminated?.exitCode} matching ${action} rule at index ${index}`;
      return { action, message: subject };
    }
    if (action === 'Ignore' || action === 'FailIndex' || action === 'Count') return { action };
  }
  return { action: 'Count' };
}

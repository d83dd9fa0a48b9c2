// Gives pods processors, memory and devices when they come, all of them with one view of the machine's NUMA nodes, and
// says what containers are started with (pkg/kubelet/cm/topologymanager, pkg/kubelet/cm/container_manager_linux.go).
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { Rejection } from '../sync/admit-pod.ts';
import { AllocationError, type HintProvider } from './hint-provider.ts';
import { mergeHints, type TopologyHint, type TopologyOptions, type TopologyPolicy } from './topology-hint.ts';

const rejected = 'Pod was rejected: ';

export interface ResourceManagerOptions {
  providers: readonly HintProvider[];
  policy: TopologyPolicy;
  scope: 'container' | 'pod';
  topology: TopologyOptions;
  /** Uids of pods of which something runs: after a restart not all of them may have been told yet. */
  running(): readonly string[];
  /** Told how a pod fared; without a policy nothing can be out of line. */
  observe?(admitted: boolean, durationMs: number): void;
}

export interface ResourceManager {
  /** Gives the pod what it asks for; `others` are the pods that keep theirs. Undefined when it has got everything. */
  admit(pod: Pod, others: readonly Pod[], signal: AbortSignal): Promise<Rejection | undefined>;
}

function locality(): AllocationError {
  return new AllocationError('TopologyAffinityError', 'Resources cannot be allocated with Topology locality');
}

/** The rejection for what went wrong. */
export function rejectionOf(error: unknown): Rejection {
  const { message } = error as Error;
  if (error instanceof AllocationError) return { reason: error.reason, message: `${rejected}${message}` };
  return {
    reason: 'UnexpectedAdmissionError',
    message: `${rejected}Allocate failed due to ${message}, which is unexpected`,
  };
}

/** Creates the manager. */
export function createResourceManager(options: ResourceManagerOptions): ResourceManager {
  const { providers, policy, scope, topology } = options;

  function hintFor(pod: Pod, container: Container): TopologyHint {
    const hints = providers.map((provider) =>
      scope === 'pod' ? provider.podHints(pod) : provider.hints(pod, container),
    );
    const { hint, admit } = mergeHints(policy, hints, topology);
    if (!admit) throw locality();
    return hint;
  }

  async function give(pod: Pod, signal: AbortSignal): Promise<void> {
    const containers = [...(pod.spec.initContainers ?? []), ...pod.spec.containers];
    const [first] = containers;
    const ofPod = scope === 'pod' && first !== undefined ? hintFor(pod, first) : undefined;
    for (const container of containers) {
      const hint = ofPod ?? hintFor(pod, container);
      for (const provider of providers) await provider.allocate(pod, container, hint, signal);
    }
  }

  return {
    async admit(pod, others, signal) {
      const uids = new Set([...[pod, ...others].map(({ metadata }) => metadata.uid ?? ''), ...options.running()]);
      for (const provider of providers) provider.retain(uids);
      const startedMs = performance.now();
      try {
        await give(pod, signal);
        options.observe?.(true, performance.now() - startedMs);
        return undefined;
      } catch (error) {
        signal.throwIfAborted();
        options.observe?.(policy === 'none', performance.now() - startedMs);
        return rejectionOf(error);
      }
    },
  };
}

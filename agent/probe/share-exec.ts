// Opt-in: probes of one container that run the same command may share one execution of it.
import type { Pod, Probe } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { ProbeResult } from './probe-result.ts';

/** On a pod: `"true"` lets identical exec probes of each container share their executions. */
export const shareExecAnnotation = 'berth.io/share-exec-probes';

/** A shared answer is younger than this part of the probe's period: one a period old is the prober's own last one. */
const freshPart = 0.9;

interface Execution {
  startedMs: number;
  result: Promise<ProbeResult>;
  /** Probes that have had this answer. */
  told: Set<string>;
}

export interface ExecSharing {
  /** Answers with an execution that another probe of the container began just now, else runs `execute`. */
  run(
    target: { containerId: string; type: string; probe: Probe },
    execute: () => Promise<ProbeResult>,
  ): Promise<ProbeResult>;
  /** The container's probes are gone. */
  forget(containerId: string): void;
}

/** True when the pod asks for it and the probe is one that can be shared. */
export function mayShareExec(pod: Pod, probe: Probe): boolean {
  return probe.exec !== undefined && pod.metadata.annotations?.[shareExecAnnotation] === 'true';
}

/** Creates an empty record of executions. */
export function createExecSharing(clock: Clock): ExecSharing {
  const containers = new Map<string, Map<string, Execution>>();
  return {
    run({ containerId, type, probe }, execute) {
      const key = JSON.stringify([probe.exec?.command, probe.timeoutSeconds ?? 1]);
      const executions = containers.get(containerId) ?? new Map<string, Execution>();
      containers.set(containerId, executions);
      const last = executions.get(key);
      const freshMs = (probe.periodSeconds ?? 10) * 1000 * freshPart;
      if (last !== undefined && !last.told.has(type) && clock.monotonicMs() - last.startedMs < freshMs) {
        last.told.add(type);
        return last.result;
      }
      const result = execute();
      executions.set(key, { startedMs: clock.monotonicMs(), result, told: new Set([type]) });
      return result;
    },
    forget: (containerId) => void containers.delete(containerId),
  };
}

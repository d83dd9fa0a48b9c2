// How the agent reports about pods: events as users see them in `kubectl describe`.
import type { Pod } from '#kube/api/generated/core-v1.ts';

/** Records one event about a pod, or about one of its containers. Never blocks, never throws. */
export type RecordPodEvent = (
  pod: Pod,
  type: 'Normal' | 'Warning',
  reason: string,
  message: string,
  containerName?: string,
) => void;

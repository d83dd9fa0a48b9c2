// What `berth explain pod` shows, as the agent's server answers it in JSON. Times are RFC 3339.
import type { EvictionRecord } from '../eviction/eviction-records.ts';
import type { StepName } from './pod-steps.ts';

/** The one thing a pod is waiting for. */
export interface Explanation {
  namespace: string;
  name: string;
  uid: string;
  phase: string;
  /** `none`: nothing blocks it. */
  step: StepName | 'scheduling' | 'probe' | 'readinessGate' | 'backoff' | 'finalizer' | 'none';
  container?: string;
  /** One sentence. */
  message: string;
  since?: string;
  ageSeconds?: number;
  attempts?: number;
  lastError?: string;
  nextRetry?: string;
  /** Of what is being pulled; `total` only where the runtime knows it. */
  bytes?: { done: number; total?: number };
  /** The node ended the pod because it was short of something: what was seen, and how pods were ranked. */
  eviction?: EvictionRecord;
}

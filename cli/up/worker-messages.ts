// What the supervising process and a worker of it say to each other. Start-up and teardown run in workers, so that
// the process that stays holds none of what they import.
import type { ProgressMessage } from './progress-message.ts';
import type { ProcessSpec } from './supervisor.ts';

/** What a worker does. */
export type WorkerTask = 'start' | 'teardown';

/** What start-up found and changed. */
export interface StartFacts {
  nodeIP?: string;
  sysctls?: Record<string, string>;
}

/** A question of the worker; each gets one answer. */
export type WorkerRequest =
  | { type: 'start-process'; spec: ProcessSpec }
  | { type: 'stop-process'; name: string }
  | { type: 'changed'; facts: StartFacts };

export type WorkerMessage =
  | { type: 'request'; id: number; request: WorkerRequest }
  | { type: 'report'; message: ProgressMessage }
  | { type: 'finished' }
  | { type: 'failed'; message: string; stack: string | undefined };

/** The answer to the request of this id; `error` when it failed. */
export interface WorkerAnswer {
  id: number;
  error?: string;
}

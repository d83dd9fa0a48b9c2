// One probe of one run of a container: when it is made, and what its results add up to (pkg/kubelet/prober/worker.go).
import type { Probe } from '#kube/api/generated/core-v1.ts';
import type { Clock, Timer } from '#kube/process/clock.ts';
import type { Verdict } from '../sync/pod-action.ts';
import type { ProbeResult } from './probe-result.ts';

const maxAttempts = 3;

export type ProbeType = 'liveness' | 'readiness' | 'startup';

export interface ProbeWorkerOptions {
  type: ProbeType;
  probe: Probe;
  /** When the container started, by the wall clock. */
  startedAtMs: number;
  /** The verdict before the first result. */
  initial: Verdict;
  clock: Clock;
  /** False while another probe has to succeed first. */
  mayRun(): boolean;
  run(signal: AbortSignal): Promise<ProbeResult>;
  /** Told every result. */
  observed(result: ProbeResult): void;
  /** The verdict changed. */
  changed(): void;
}

export interface ProbeWorker {
  readonly verdict: Verdict;
  readonly type: ProbeType;
  /** Probes now instead of at the next period. */
  trigger(): void;
  stop(): void;
}

/** Absent, and whatever else the API server would not let pass, is the default. */
function positive(value: number | undefined, fallback: number): number {
  return value !== undefined && value > 0 ? value : fallback;
}

/** Starts probing; the first probe comes when the initial delay has passed. */
export function startProbeWorker(options: ProbeWorkerOptions): ProbeWorker {
  const { type, probe, clock } = options;
  const periodMs = positive(probe.periodSeconds, 10) * 1000;
  const initialDelayMs = positive(probe.initialDelaySeconds, 0) * 1000;
  const stopped = new AbortController();
  let verdict = options.initial;
  let streak = 0;
  let last: 'success' | 'failure' | undefined;
  let timer: Timer | undefined;
  let running = false;
  let dueMs = 0;
  /** A startup probe has done its work, or a container waits to be killed. */
  let onHold = type === 'startup' && verdict === 'success';

  function schedule(delayMs: number): void {
    timer?.cancel();
    dueMs = clock.monotonicMs() + delayMs;
    if (!stopped.signal.aborted && !onHold) timer = clock.after(delayMs, () => void tick());
  }

  function settle(found: ProbeResult): void {
    const result = found.result === 'failure' ? 'failure' : 'success';
    streak = result === last ? streak + 1 : 1;
    last = result;
    const threshold = result === 'failure' ? positive(probe.failureThreshold, 3) : positive(probe.successThreshold, 1);
    if (streak < threshold) return;
    const next: Verdict = result === 'failure' ? 'failure' : 'success';
    // Done, or the container waits to be killed: its next run has a worker of its own.
    if (type === 'startup' || (type === 'liveness' && next === 'failure')) onHold = true;
    if (next === verdict) return;
    verdict = next;
    options.changed();
  }

  /** A probe that could not be made says nothing about the container: it is tried again at once, a few times. */
  async function runWithRetries(): Promise<ProbeResult> {
    let result = await options.run(stopped.signal);
    for (let attempt = 1; result.result === 'error' && attempt < maxAttempts; attempt += 1) {
      if (stopped.signal.aborted) break;
      result = await options.run(stopped.signal);
    }
    return result;
  }

  async function tick(): Promise<void> {
    if (running) return;
    running = true;
    const nowMs = clock.monotonicMs();
    // From where it was due, not from where it began: being late a little does not add up.
    const late = nowMs - dueMs;
    const startedMs = late >= 0 && late < periodMs ? dueMs : nowMs;
    try {
      if (options.mayRun()) {
        const result = await runWithRetries();
        // What a probe says that was broken off is about its end, not about the container.
        if (stopped.signal.aborted) return;
        options.observed(result);
        if (result.result !== 'error') settle(result);
      }
    } catch (error) {
      if (!stopped.signal.aborted) options.observed({ result: 'error', output: (error as Error).message });
    } finally {
      running = false;
      schedule(Math.max(periodMs - (clock.monotonicMs() - startedMs), 0));
    }
  }

  schedule(Math.max(options.startedAtMs + initialDelayMs - clock.now(), 0));
  return {
    get verdict() {
      return verdict;
    },
    type,
    trigger: () => {
      if (clock.now() >= options.startedAtMs + initialDelayMs) schedule(0);
    },
    stop: () => {
      stopped.abort(new Error('probe stopped'));
      timer?.cancel();
    },
  };
}

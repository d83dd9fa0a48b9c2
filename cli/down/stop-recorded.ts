// Stops processes that a record names.
import type { Clock } from '#kube/process/clock.ts';
import { isAlive, type ProcessRecord, type RunState } from '../up/run-state.ts';

const stopWaitMs = 10_000;
const pollMs = 50;

/** Asks a process to end, and ends it when it does not. */
export async function stopRecorded(record: ProcessRecord, clock: Clock): Promise<void> {
  if (!isAlive(record)) return;
  process.kill(record.pid, 'SIGTERM');
  const deadlineMs = clock.monotonicMs() + stopWaitMs;
  while (isAlive(record) && clock.monotonicMs() < deadlineMs) await clock.sleep(pollMs);
  if (isAlive(record)) process.kill(record.pid, 'SIGKILL');
}

/** Stops what an earlier run left running; pods go on under their shims. */
export async function stopLeftovers(state: RunState, clock: Clock): Promise<void> {
  for (const record of [...state.processes].reverse()) await stopRecorded(record, clock);
}

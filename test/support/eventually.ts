// Waiting for a state of a running system, in integration and end-to-end tests only.
import { setTimeout as sleep } from 'node:timers/promises';

/** Calls `look` until it returns something; fails with what it saw last after `timeoutMs`. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | false>,
  timeoutMs = 30_000,
  periodMs = 25,
): Promise<T> {
  const deadline = Date.now() + timeoutMs;
  let lastError: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== false) return found;
      lastError = undefined;
    } catch (error) {
      lastError = error;
    }
    if (Date.now() > deadline) throw new Error(`never happened: ${what}`, { cause: lastError });
    await sleep(periodMs);
  }
}

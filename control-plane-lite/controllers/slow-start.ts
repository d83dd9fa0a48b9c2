// Runs many equal calls in growing batches, so that a call that cannot succeed is not made hundreds of times.

/** Calls 1, 2, 4, ... at once up to `count`; stops after a batch with a failure. Returns successes and the first error. */
export async function slowStart(
  count: number,
  call: (index: number) => Promise<void>,
): Promise<{ succeeded: number; error: unknown }> {
  let succeeded = 0;
  let error: unknown;
  for (let started = 0, batch = 1; started < count && error === undefined; batch *= 2) {
    const size = Math.min(batch, count - started);
    const first = started;
    const results = await Promise.allSettled(Array.from({ length: size }, async (_, offset) => call(first + offset)));
    started += size;
    for (const result of results) {
      if (result.status === 'fulfilled') succeeded += 1;
      else error ??= result.reason;
    }
  }
  return { succeeded, error };
}

// The shape of everything with a lifetime.

/** A part that runs until told to stop. Constructing one starts nothing. */
export interface Component {
  /** Resolves when the signal was aborted and the component has drained; rejects when it cannot go on. */
  run(signal: AbortSignal): Promise<void>;
  /** Resolves when the component does its work. */
  readonly ready: Promise<void>;
}

/**
 * Runs components side by side until the signal is aborted or one of them fails; then the others
 * are stopped too and the first failure is thrown.
 */
export async function runGroup(components: readonly Pick<Component, 'run'>[], signal: AbortSignal): Promise<void> {
  const group = new AbortController();
  const stop = () => group.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  if (signal.aborted) stop();
  let failure: { error: unknown } | undefined;
  await Promise.all(
    components.map(async (component) => {
      try {
        await component.run(group.signal);
      } catch (error) {
        if (!group.signal.aborted) failure ??= { error };
      } finally {
        group.abort(signal.reason);
      }
    }),
  );
  signal.removeEventListener('abort', stop);
  if (failure !== undefined) throw failure.error;
}

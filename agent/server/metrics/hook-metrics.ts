// The count of hooks that were to sleep and could not to the end.
import { Counter, type Registry } from 'prom-client';

/** Registers it; the function counts one. */
export function registerSleepCount(registry: Registry): () => void {
  const cut = new Counter({
    name: 'kubelet_sleep_action_terminated_early_total',
    help: 'The number of times lifecycle sleep handler got terminated before it finishes',
    registers: [registry],
  });
  return () => cut.inc();
}

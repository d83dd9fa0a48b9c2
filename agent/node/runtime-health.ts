// Whether the container runtime works and pods can have networks, asked every few seconds.
import type { Logger } from 'pino';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';

const periodMs = 5000;
/** While something keeps the node from being ready it is asked for often: a new node should not wait. */
const unreadyPeriodMs = 250;
const unheardLimitMs = 30_000;

/** What the runtime can do, by handler; absent where it does not tell. */
export interface RuntimeAbilities {
  handlers: { name: string; userNamespaces: boolean; recursiveReadOnlyMounts: boolean }[];
  supplementalGroupsPolicy: boolean | undefined;
}

/** Whether the runtime of the pod makes all below a mount read-only; of a runtime class: whether every one does. */
export function recursiveReadOnly(pod: Pod, { handlers }: RuntimeAbilities): boolean {
  const named = (pod.spec.runtimeClassName ?? '') !== '';
  const possible = named ? handlers : handlers.filter(({ name }) => name === '');
  return possible.length > 0 && possible.every(({ recursiveReadOnlyMounts }) => recursiveReadOnlyMounts);
}

export interface RuntimeHealth {
  /** Why pods cannot have networks; undefined when they can. */
  networkProblem(): string | undefined;
  /** Everything that keeps the node from being ready, as its condition words it. */
  problems(): string[];
  /** What the runtime said it can do, when it last answered. */
  abilities(): RuntimeAbilities;
  /** Asks now. */
  check(signal: AbortSignal): Promise<void>;
  run(signal: AbortSignal): Promise<void>;
}

/** Creates the check. `changed` is called when the answer differs from the one before. */
export function createRuntimeHealth(
  runtime: RuntimeService,
  clock: Clock,
  logger: Logger,
  changed: () => void,
): RuntimeHealth {
  let abilities: RuntimeAbilities = { handlers: [], supplementalGroupsPolicy: undefined };
  let heardAtMs: number | undefined;
  let runtimeProblem: string | undefined = 'container runtime status check may not have completed yet';
  let network: string | undefined = 'container runtime status check may not have completed yet';

  async function check(signal: AbortSignal): Promise<void> {
    const before = `${runtimeProblem}|${network}`;
    try {
      const { status, features, runtimeHandlers } = await runtime.status(signal);
      abilities = {
        handlers: runtimeHandlers.map(({ name, features: own }) => ({
          name,
          userNamespaces: own?.userNamespaces === true,
          recursiveReadOnlyMounts: own?.recursiveReadOnlyMounts === true,
        })),
        supplementalGroupsPolicy: features?.supplementalGroupsPolicy,
      };
      heardAtMs = clock.monotonicMs();
      const describe = (type: string): string | undefined => {
        const condition = status?.conditions.find((item) => item.type === type);
        if (condition?.status === true) return undefined;
        return `${type}=false reason:${condition?.reason ?? ''} message:${condition?.message ?? ''}`;
      };
      const down = describe('RuntimeReady');
      const unreachable = describe('NetworkReady');
      runtimeProblem = down === undefined ? undefined : `container runtime is down: ${down}`;
      network = unreachable === undefined ? undefined : `container runtime network not ready: ${unreachable}`;
    } catch (error) {
      if (signal.aborted) return;
      logger.warn({ err: error }, 'cannot ask the container runtime for its status');
      const silentMs = heardAtMs === undefined ? Number.POSITIVE_INFINITY : clock.monotonicMs() - heardAtMs;
      if (silentMs > unheardLimitMs) runtimeProblem = 'container runtime is down';
    }
    if (`${runtimeProblem}|${network}` !== before) changed();
  }

  return {
    networkProblem: () => network,
    problems: () => [runtimeProblem, network].filter((problem) => problem !== undefined),
    abilities: () => abilities,
    check,
    async run(signal) {
      while (!signal.aborted) {
        await check(signal);
        const ready = runtimeProblem === undefined && network === undefined;
        await clock.sleep(ready ? periodMs : unreadyPeriodMs, signal).catch(() => undefined);
      }
    },
  };
}

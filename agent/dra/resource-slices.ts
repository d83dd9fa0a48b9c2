// ResourceSlices of drivers that are not there: pods must not be sent here for devices that nobody can prepare. All of
// the node's go when the agent starts, those of one driver when it stays away (pkg/kubelet/cm/dra/plugin).
import type { Logger } from 'pino';
import { resourceslices } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { backoffDelayMs } from '#kube/queue/backoff.ts';

const retry = { initialMs: 1000, maxMs: 300_000 };

export interface ResourceSliceOptions {
  client: Pick<ApiClient, 'deleteCollection'>;
  nodeName: string;
  clock: Clock;
  logger: Logger;
}

/** Removes the node's slices, of the one driver or of all; tries until that has worked or the signal is aborted. */
export async function removeResourceSlices(
  { client, nodeName, clock, logger }: ResourceSliceOptions,
  driver: string | undefined,
  signal: AbortSignal,
): Promise<void> {
  const fieldSelector = [`spec.nodeName=${nodeName}`, ...(driver === undefined ? [] : [`spec.driver=${driver}`])];
  for (let failures = 1; !signal.aborted; failures += 1) {
    try {
      await client.deleteCollection(resourceslices, { fieldSelector: fieldSelector.join(','), signal });
      return;
    } catch (error) {
      // Where the API is not served there is nothing to remove.
      if (signal.aborted || (error instanceof StatusError && error.httpCode === 404)) return;
      logger.debug({ err: error, driver }, 'cannot remove ResourceSlices yet');
      await clock.sleep(backoffDelayMs(failures, retry), signal).catch(() => undefined);
    }
  }
}

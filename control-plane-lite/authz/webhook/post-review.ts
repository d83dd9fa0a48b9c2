// Reaches the webhook of a kubeconfig: the cluster's server is its whole address. Failures that may pass are tried again.
import { ClientConfigError } from '#kube/client/config.ts';
import { createClient } from '#kube/client/create-client.ts';
import { loadClientConfig } from '#kube/client/load-config.ts';
import { StatusError } from '#kube/errors/status-error.ts';
import type { Clock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { UsageError } from '#kube/process/flags.ts';

export interface ReviewPoster {
  post(review: object): Promise<unknown>;
  close(): Promise<void>;
}

const timeoutMs = 30_000;
/** Waits between tries, as the reference has them. */
const delaysMs = [500, 750, 1125, 1688];

const mayPass = (error: unknown): boolean =>
  !(error instanceof StatusError) || error.httpCode === 429 || error.httpCode >= 500;

/** Throws UsageError for a file that cannot be used. */
export function createReviewPoster(configFile: string, clock: Clock): ReviewPoster {
  const open = () => {
    try {
      return loadClientConfig({ env: {}, exec: systemExec, clock }, configFile);
    } catch (error) {
      if (!(error instanceof ClientConfigError)) throw error;
      throw new UsageError(`--authorization-webhook-config-file: ${error.message}`, { cause: error });
    }
  };
  const config = open();
  const [server = ''] = config.servers;
  const client = createClient({ ...config, clock, name: 'authorization-webhook' });
  // An address without a path is asked at its root.
  const path = new URL(server).pathname === '/' ? '/' : '';
  const stopping = new AbortController();
  return {
    post: async (review) => {
      for (let tries = 0; ; tries += 1) {
        try {
          return await client.raw<unknown>({ method: 'POST', path, body: review, timeoutMs, signal: stopping.signal });
        } catch (error) {
          const delayMs = delaysMs[tries];
          if (delayMs === undefined || stopping.signal.aborted || !mayPass(error)) throw error;
          await clock.sleep(delayMs, stopping.signal);
        }
      }
    },
    close: async () => {
      stopping.abort(new Error('the server stops'));
      await client.close();
    },
  };
}

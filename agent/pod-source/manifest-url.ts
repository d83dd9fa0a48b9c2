// Static pods from a URL: one pod, or a list of them. While the server does not answer, the pods stay.
import type { Logger } from 'pino';
import { parseStaticPods, type StaticOrigin } from './parse-static-pod.ts';
import type { ReadManifests } from './static-pods.ts';

const maxBytes = 10 * 1024 * 1024;

/** Asks a URL for text. Rejects when there is no good answer in time. */
export type FetchText = (url: string, headers: Record<string, string[]>, signal: AbortSignal) => Promise<string>;

/** Over the network, as a client that takes its time limit from `signal`. */
export const systemFetchText: FetchText = async (url, headers, signal) => {
  const list = Object.entries(headers).flatMap(([name, values]) =>
    values.map((value): [string, string] => [name, value]),
  );
  const answer = await fetch(url, { headers: list, signal });
  if (answer.status !== 200) throw new Error(`the server answered ${answer.status} ${answer.statusText}`);
  const text = await answer.text();
  if (text === '') throw new Error('the answer is empty');
  if (text.length > maxBytes) throw new Error(`the answer is larger than ${maxBytes} bytes`);
  return text;
};

/** Reads the URL; what is wrong with its answer is told once until that changes. */
export function manifestUrl(
  url: string,
  headers: Record<string, string[]>,
  origin: Omit<StaticOrigin, 'place' | 'source'>,
  logger: Logger,
  fetchText: FetchText,
  timeoutMs: number,
): ReadManifests {
  let told: string | undefined;
  return async (seen, signal) => {
    try {
      const limit = AbortSignal.any([signal, AbortSignal.timeout(timeoutMs)]);
      const text = await fetchText(url, headers, limit);
      const pods = parseStaticPods(text, { ...origin, source: 'http', place: url }, seen);
      told = undefined;
      return pods;
    } catch (error) {
      const message = (error as Error).message;
      if (!signal.aborted && message !== told) logger.error({ err: error, url }, 'cannot use static pods of a URL');
      told = message;
      return undefined;
    }
  };
}

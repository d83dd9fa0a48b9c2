// One HTTP call whose body is taken as a whole: less work than a stream for every answer.
import type { IncomingHttpHeaders } from 'node:http';
import type { Dispatcher } from 'undici';

/** A complete answer. */
export interface TextAnswer {
  statusCode: number;
  headers: IncomingHttpHeaders;
  text: string;
  /** Of the body. */
  bytes: number;
}

function abortReason(signal: AbortSignal): Error {
  return signal.reason instanceof Error ? signal.reason : new Error(String(signal.reason));
}

/** Resolves with any answer; rejects when the connection fails or with the signal's reason. */
export function bufferedCall(
  dispatcher: Dispatcher,
  options: Dispatcher.DispatchOptions,
  signal: AbortSignal | undefined,
): Promise<TextAnswer> {
  const { promise, resolve, reject } = Promise.withResolvers<TextAnswer>();
  let running: Dispatcher.DispatchController | undefined;
  let statusCode = 0;
  let headers: IncomingHttpHeaders = {};
  let chunks: Buffer[] = [];

  const abort = () => {
    if (signal === undefined) return;
    running?.abort(abortReason(signal));
    reject(abortReason(signal));
  };
  const settle = () => signal?.removeEventListener('abort', abort);
  signal?.addEventListener('abort', abort, { once: true });

  dispatcher.dispatch(options, {
    onRequestStart(controller) {
      running = controller;
      // Aborted while it waited for a connection.
      if (signal?.aborted === true) controller.abort(abortReason(signal));
    },
    onResponseStart(_, code, received) {
      if (code < 200) return;
      statusCode = code;
      headers = received;
      chunks = [];
    },
    onResponseData(_, chunk) {
      chunks.push(chunk);
    },
    onResponseEnd() {
      settle();
      const [only, ...more] = chunks;
      const body = more.length === 0 ? only : Buffer.concat(chunks);
      resolve({ statusCode, headers, text: body?.toString('utf8') ?? '', bytes: body?.length ?? 0 });
    },
    onResponseError(_, error) {
      settle();
      reject(error);
    },
  });
  return promise;
}

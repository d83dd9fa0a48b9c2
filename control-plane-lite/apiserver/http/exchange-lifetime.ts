// How long what is done for an exchange is of use to anybody.
import type { Exchange } from './exchange.ts';

/** Aborted when the client leaves, the answer is over or the server stops. A connection outlives its requests. */
export function lifetimeOf({ request: { socket }, response }: Exchange, stopping: AbortSignal): AbortSignal {
  const controller = new AbortController();
  const end = () => {
    socket.off('close', end);
    controller.abort();
  };
  socket.once('close', end);
  response.once('close', end);
  return AbortSignal.any([controller.signal, stopping]);
}

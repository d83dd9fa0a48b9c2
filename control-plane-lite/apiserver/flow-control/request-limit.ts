// The contract of what bounds how many requests are served at once.
import type { Exchange } from '../http/exchange.ts';

/** To be called when a request is answered; further calls do nothing. */
export type Leave = () => void;

export interface RequestLimit {
  /** Counts a request in, at once or when there is room for it. Throws or rejects with StatusError 429. */
  enter(exchange: Exchange): Leave | Promise<Leave>;
}

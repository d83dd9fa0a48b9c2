// Node ports that are in use, out of one range.
import { randomInt } from 'node:crypto';

export type PortRefusal = 'outside' | 'taken';

/** Ports from `first` to `last`, both included. */
export class PortPool {
  readonly first: number;
  readonly last: number;
  readonly #taken = new Set<number>();

  constructor(first: number, last: number) {
    this.first = first;
    this.last = last;
  }

  take(port: number): PortRefusal | undefined {
    if (port < this.first || port > this.last) return 'outside';
    if (this.#taken.has(port)) return 'taken';
    this.#taken.add(port);
    return undefined;
  }

  takeAny(): number | undefined {
    const span = this.last - this.first + 1;
    const offset = randomInt(span);
    for (let step = 0; step < span; step += 1) {
      const port = this.first + ((offset + step) % span);
      if (this.#taken.has(port)) continue;
      this.#taken.add(port);
      return port;
    }
    return undefined;
  }

  release(port: number): void {
    this.#taken.delete(port);
  }
}

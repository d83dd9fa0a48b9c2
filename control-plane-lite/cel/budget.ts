// What an evaluation may spend. Every step of an expression costs, and what works on texts and lists costs by their size,
// so that no expression holds up the server: the limits are the reference's.

/** Of one expression. */
export const perCallLimit = 1_000_000;
/** Of all the expressions of one request for one rule set or policy. */
export const requestLimit = 10_000_000;
// A fail-safe beside the counted cost, far above what the limits take.
const longestMs = 2_000;

/** Thrown inside an evaluation: it cannot be caught by the expression, since every further step throws it again. */
export class CostExceededError extends Error {
  constructor() {
    super('operation cancelled: actual cost limit exceeded');
  }
}

/** The remaining cost of a request. */
export class Budget {
  remaining: number;

  constructor(limit: number = requestLimit) {
    this.remaining = limit;
  }
}

/** The meter of the evaluation that runs now. Evaluations never wait, so there is one at a time. */
export class Meter {
  readonly #limit: number;
  readonly #deadline: number;
  spent = 0;
  /** Size of the values that the parts of the present step had. */
  partSize = 0;
  #sinceLook = 0;

  constructor(limit: number) {
    this.#limit = limit;
    this.#deadline = performance.now() + longestMs;
  }

  charge(cost: number): void {
    this.spent += cost;
    this.#sinceLook += 1;
    if (this.#sinceLook > 1000) {
      this.#sinceLook = 0;
      if (performance.now() > this.#deadline) this.spent = Number.POSITIVE_INFINITY;
    }
    if (this.spent > this.#limit) throw new CostExceededError();
  }

  get isExceeded(): boolean {
    return this.spent > this.#limit;
  }
}

const sizes = new WeakMap<object, number>();

/** How large a value is, worked out once for each object; texts count by length. */
export function sizeOfValue(value: unknown, depth = 0): number {
  if (typeof value === 'string') return value.length;
  if (typeof value !== 'object' || value === null || depth > 200) return 1;
  if (value instanceof Uint8Array) return value.length;
  const known = sizes.get(value);
  if (known !== undefined) return known;
  let size = 1;
  if (Array.isArray(value)) for (const item of value) size += sizeOfValue(item, depth + 1);
  else if (value.constructor === Object) {
    for (const [key, item] of Object.entries(value)) size += key.length + sizeOfValue(item, depth + 1);
  }
  sizes.set(value, size);
  return size;
}

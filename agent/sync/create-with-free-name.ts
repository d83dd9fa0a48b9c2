// Sandboxes and containers have names with the number of the attempt in them. Where an earlier attempt hangs in the
// runtime its name is taken: it is given up, and the next number is used.
import { holderOfReservedName } from '../cri/reserved-name.ts';

/** A runtime in which so many attempts hang at once has other troubles. */
const maxNames = 5;

/**
 * Calls `create` with `attempt` and, while that name is reserved, with the numbers after it. `giveUp` is told the id
 * that holds a name; what it throws does not matter.
 */
export async function createWithFreeName<T>(
  attempt: number,
  create: (attempt: number) => Promise<T>,
  giveUp: (id: string) => Promise<void>,
): Promise<T> {
  for (let number = attempt; ; number += 1) {
    try {
      return await create(number);
    } catch (error) {
      const holder = holderOfReservedName(error);
      if (holder === undefined || number - attempt + 1 >= maxNames) throw error;
      await giveUp(holder).catch(() => undefined);
    }
  }
}

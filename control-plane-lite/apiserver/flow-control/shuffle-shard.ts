// Shuffle sharding: each flow has a hand of queues, so that a flow that fills its own leaves others a free one.

const fnvPrime = 0x01000193;

function fnv1a(text: string, seed: number): number {
  let hash = seed;
  for (let index = 0; index < text.length; index += 1) hash = Math.imul(hash ^ text.charCodeAt(index), fnvPrime) >>> 0;
  return hash;
}

/** 53 bits that stand for a flow: as many as a number holds. */
export function hashFlow(schema: string, distinguisher: string): number {
  const key = `${schema}\n${distinguisher}`;
  const high = fnv1a(key, 0x811c9dc5) & 0x1fffff;
  return high * 2 ** 32 + fnv1a(key, 0x9e3779b9);
}

/** `size` different queues out of `queues`, drawn by a hash. */
export function dealHand(hash: number, queues: number, size: number): number[] {
  const drawn: number[] = [];
  let rest = hash;
  for (let left = queues; drawn.length < Math.min(size, queues); left -= 1) {
    let card = rest % left;
    rest = Math.floor(rest / left);
    // The cards drawn before are no longer in the deck.
    for (const earlier of [...drawn].sort((a, b) => a - b)) if (card >= earlier) card += 1;
    drawn.push(card);
  }
  return drawn;
}

// Who wants which of the things that services share: elements of sets and maps, addresses, virtual servers. Several
// ports may want the same one, alike (an endpoint that is behind both) or differently (the same external IP and
// port): the first by name has it until it lets go.

/** What one service port wants. */
export interface Claims<Item> {
  /** Names the port among those that may want the same thing. */
  owner: string;
  items: readonly Item[];
}

export interface ClaimChanges<Item> {
  removed: Item[];
  added: Item[];
}

export interface ClaimLedger<Item> {
  /** Replaces what ports want by what they want now, and says what that changes. What changed is in both lists. */
  change(changes: Iterable<{ before?: Claims<Item>; after?: Claims<Item> }>): ClaimChanges<Item>;
  /** What is there when all claims are met. */
  held(): Item[];
}

export interface ClaimTraits<Item> {
  /** The same for things that cannot be there side by side. */
  identity(item: Item): string;
  /** Of two things with one identity. */
  isSame(a: Item, b: Item): boolean;
}

/** One claim, as nearly all things have, is kept without a map around it. */
type Claim<Item> = { owner: string; item: Item } | Map<string, Item>;

function holderOf<Item>(claim: Claim<Item> | undefined): Item | undefined {
  if (!(claim instanceof Map)) return claim?.item;
  let first: [string, Item] | undefined;
  for (const entry of claim) if (first === undefined || entry[0] < first[0]) first = entry;
  return first?.[1];
}

export function createClaimLedger<Item>({ identity, isSame }: ClaimTraits<Item>): ClaimLedger<Item> {
  const claims = new Map<string, Claim<Item>>();

  function release(id: string, owner: string): void {
    const claim = claims.get(id);
    if (claim instanceof Map) {
      claim.delete(owner);
      if (claim.size === 0) claims.delete(id);
    } else if (claim?.owner === owner) {
      claims.delete(id);
    }
  }

  function lay(id: string, owner: string, item: Item): void {
    const claim = claims.get(id);
    if (claim instanceof Map) claim.set(owner, item);
    else if (claim === undefined || claim.owner === owner) claims.set(id, { owner, item });
    else claims.set(id, new Map([[claim.owner, claim.item]]).set(owner, item));
  }

  return {
    held: () => [...claims.values()].flatMap((claim) => holderOf(claim) ?? []),
    change: (changes) => {
      const touched = new Map<string, Item | undefined>();
      const touch = (id: string): void => {
        if (!touched.has(id)) touched.set(id, holderOf(claims.get(id)));
      };
      for (const { before, after } of changes) {
        for (const item of before?.items ?? []) {
          const id = identity(item);
          touch(id);
          release(id, before?.owner ?? '');
        }
        for (const item of after?.items ?? []) {
          const id = identity(item);
          touch(id);
          lay(id, after?.owner ?? '', item);
        }
      }
      const result: ClaimChanges<Item> = { removed: [], added: [] };
      for (const [id, old] of touched) {
        const now = holderOf(claims.get(id));
        if (old !== undefined && now !== undefined && isSame(old, now)) continue;
        if (old !== undefined) result.removed.push(old);
        if (now !== undefined) result.added.push(now);
      }
      return result;
    },
  };
}

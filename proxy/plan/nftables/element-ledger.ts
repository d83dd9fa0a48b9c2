// Who wants which element of the shared sets and maps. Several services may want the same one, alike (an endpoint
// that is behind both) or differently (the same external IP and port): the first by name has it until it lets go.
import type { Element, ServiceRules } from './rules.ts';

export interface ElementChanges {
  removed: Element[];
  added: Element[];
}

export interface ElementLedger {
  /** Replaces what one port wants by what it wants now, for several ports, and says what that changes. */
  change(changes: Iterable<{ before?: ServiceRules; after?: ServiceRules }>): ElementChanges;
}

function identity({ container, key }: Element): string {
  return `${container} ${key}`;
}

function sameValue(a: Element, b: Element): boolean {
  return a.value.verdict === b.value.verdict && a.value.comment === b.value.comment;
}

export function createElementLedger(): ElementLedger {
  const claims = new Map<string, Map<string, Element>>();

  function holder(id: string): Element | undefined {
    let first: [string, Element] | undefined;
    for (const claim of claims.get(id) ?? []) if (first === undefined || claim[0] < first[0]) first = claim;
    return first?.[1];
  }

  return {
    change: (changes) => {
      const touched = new Map<string, Element | undefined>();
      const touch = (id: string): void => {
        if (!touched.has(id)) touched.set(id, holder(id));
      };
      for (const { before, after } of changes) {
        for (const element of before?.elements ?? []) {
          const id = identity(element);
          touch(id);
          const owners = claims.get(id);
          owners?.delete(before?.owner ?? '');
          if (owners?.size === 0) claims.delete(id);
        }
        for (const element of after?.elements ?? []) {
          const id = identity(element);
          touch(id);
          const owners = claims.get(id) ?? new Map<string, Element>();
          claims.set(id, owners.set(after?.owner ?? '', element));
        }
      }
      const result: ElementChanges = { removed: [], added: [] };
      for (const [id, old] of touched) {
        const now = holder(id);
        if (old !== undefined && now !== undefined && sameValue(old, now)) continue;
        if (old !== undefined) result.removed.push(old);
        if (now !== undefined) result.added.push(now);
      }
      return result;
    },
  };
}

// What placed pods say about pods to come, by affinity: equal terms of equal pods are one group, which knows in how
// many places it counts. A cluster of thousands of pods has a handful of them.
import type { PodInfo } from '../framework/pod-info.ts';
import type { OwnedTerm } from '../framework/pod-terms.ts';
import { type NamespaceLabels, type PodMatcher, termMatcher } from '../relations/affinity-terms.ts';

/** All placed pods with one term. */
export interface TermGroup extends OwnedTerm {
  /** Pods with the term by node. */
  readonly nodes: ReadonlyMap<string, number>;
  /** Whether the term speaks of the pod. */
  selects(namespaceLabels: NamespaceLabels): PodMatcher;
}

export interface TermGroups {
  add(info: PodInfo, node: string): void;
  remove(info: PodInfo, node: string): void;
  all(): Iterable<TermGroup>;
}

/** No groups yet; the cache tells of every pod that comes and goes. */
export function createTermGroups(): TermGroups {
  const groups = new Map<string, TermGroup & { nodes: Map<string, number> }>();
  return {
    add(info, node) {
      for (const owned of info.terms) {
        let group = groups.get(owned.key);
        if (group === undefined) {
          let asked: NamespaceLabels | undefined;
          let matcher: PodMatcher | undefined;
          const selects = (namespaceLabels: NamespaceLabels): PodMatcher => {
            if (matcher === undefined || asked !== namespaceLabels) {
              asked = namespaceLabels;
              matcher = termMatcher(info.pod, owned.term, namespaceLabels);
            }
            return matcher;
          };
          group = { ...owned, nodes: new Map(), selects };
          groups.set(owned.key, group);
        }
        group.nodes.set(node, (group.nodes.get(node) ?? 0) + 1);
      }
    },
    remove(info, node) {
      for (const { key } of info.terms) {
        const group = groups.get(key);
        if (group === undefined) continue;
        const left = (group.nodes.get(node) ?? 0) - 1;
        if (left > 0) group.nodes.set(node, left);
        else group.nodes.delete(node);
        if (group.nodes.size === 0) groups.delete(key);
      }
    },
    all: () => groups.values(),
  };
}

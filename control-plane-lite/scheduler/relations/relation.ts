// What other pods mean for the place of one pod: a refusal and a score for each node, asked after all that concerns the
// node alone.
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import type { PodInfo } from '../framework/pod-info.ts';

export interface Relation {
  /** `removed`: pods of the node that are thought away, to see whether that would help. */
  refuse?: ((node: NodeInfo, removed?: readonly PodInfo[]) => Refusal | undefined) | undefined;
  /** Scores of the nodes that are left, 0 to 100 times the plugin's weight. */
  score?: ((nodes: readonly NodeInfo[]) => ReadonlyMap<string, number>) | undefined;
}

/** Nothing to ask. */
export const noRelation: Relation = {};

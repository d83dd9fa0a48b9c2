// The two questions a plugin answers about a pod and a node. Plugins are pure; the order of filters is the order in
// which a node's first refusal is reported.
import type { NodeInfo } from '../cache/node-info.ts';
import type { PodInfo } from './pod-info.ts';

/** Why a node cannot take a pod. */
export interface Refusal {
  /** As it is counted in the pod's condition: "Insufficient cpu". */
  reasons: string[];
  /** Whether the removal of other pods could change it. */
  resolvable: boolean;
}

/** Undefined: nothing against it. */
export type Filter = (pod: PodInfo, node: NodeInfo) => Refusal | undefined;

/** 0 (worst) to 100 (best). */
export type Score = (pod: PodInfo, node: NodeInfo) => number;

export interface Plugin {
  name: string;
  filter?: Filter;
  score?: Score;
  /** How much the score counts. */
  weight?: number;
}

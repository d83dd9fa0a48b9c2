// The questions a plugin answers about a pod and a node. Plugins are pure; the order of filters is the order in which a
// node's first refusal is reported.
import type { NodeInfo } from '../cache/node-info.ts';
import type { PodInfo } from './pod-info.ts';

/** Why a node cannot take a pod. */
export interface Refusal {
  /** Upstream's name of the plugin that says so. */
  plugin: string;
  /** As it is counted in the pod's condition: "Insufficient cpu". */
  reasons: string[];
  /** Whether the removal of other pods could change it. */
  resolvable: boolean;
}

/** Undefined: nothing against it. */
export type Filter = (pod: PodInfo, node: NodeInfo) => Refusal | undefined;

/** What a score is counted from. */
export type Score = (pod: PodInfo, node: NodeInfo) => number;

export interface Plugin {
  name: string;
  filter?: Filter;
  /** 0 (worst) to 100 (best), or anything from 0 that `normalise` brings there. */
  score?: Score;
  /** Brings a raw score to 0 to 100, with the highest raw score of all nodes that fit. */
  normalise?: (raw: number, highest: number) => number;
  /** How much the score counts. */
  weight?: number;
}

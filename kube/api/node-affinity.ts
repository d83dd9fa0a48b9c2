// Which nodes a pod's nodeSelector and node affinity allow, and which it prefers.
import type {
  Node,
  NodeSelector,
  NodeSelectorRequirement,
  NodeSelectorTerm,
  PodSpec,
  PreferredSchedulingTerm,
} from './generated/core-v1.ts';
import { type LabelRequirement, requirementMatches, requirementsOfMap, selectorMatches } from './label-selector.ts';

const operators = new Set(['In', 'NotIn', 'Exists', 'DoesNotExist', 'Gt', 'Lt']);

function isRequirement(
  requirement: NodeSelectorRequirement,
): requirement is NodeSelectorRequirement & LabelRequirement {
  return operators.has(requirement.operator);
}

function requirementHolds(requirement: NodeSelectorRequirement, labels: Record<string, string> | undefined): boolean {
  const complete = { ...requirement, values: requirement.values ?? [] };
  return isRequirement(complete) && requirementMatches(complete, labels);
}

function isEmptyTerm(term: NodeSelectorTerm): boolean {
  return (term.matchExpressions ?? []).length === 0 && (term.matchFields ?? []).length === 0;
}

/** Whether every condition of a term holds; a term without conditions matches no node. */
export function nodeSelectorTermMatches(term: NodeSelectorTerm, node: Pick<Node, 'metadata'>): boolean {
  if (isEmptyTerm(term)) return false;
  const fields = { 'metadata.name': node.metadata.name };
  return (
    (term.matchExpressions ?? []).every((requirement) => requirementHolds(requirement, node.metadata.labels)) &&
    (term.matchFields ?? []).every((requirement) => requirementHolds(requirement, fields))
  );
}

/** Whether one of the terms matches. */
export function nodeSelectorMatches(selector: NodeSelector, node: Pick<Node, 'metadata'>): boolean {
  return selector.nodeSelectorTerms.some((term) => nodeSelectorTermMatches(term, node));
}

/** Whether the node satisfies the pod's nodeSelector and required node affinity. */
export function nodeAffinityAllows(
  spec: Pick<PodSpec, 'nodeSelector' | 'affinity'>,
  node: Pick<Node, 'metadata'>,
): boolean {
  if (!selectorMatches(requirementsOfMap(spec.nodeSelector), node.metadata.labels)) return false;
  const required = spec.affinity?.nodeAffinity?.requiredDuringSchedulingIgnoredDuringExecution;
  return required === undefined || nodeSelectorMatches(required, node);
}

/** The summed weights of the preferred terms that match. */
export function nodeAffinityWeight(
  preferred: readonly PreferredSchedulingTerm[] | undefined,
  node: Pick<Node, 'metadata'>,
): number {
  return (preferred ?? []).reduce(
    (sum, { weight, preference }) => (nodeSelectorTermMatches(preference, node) ? sum + weight : sum),
    0,
  );
}

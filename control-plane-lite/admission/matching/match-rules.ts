// Which rules of webhooks and policies a request falls under. Pure.
// Source of the rules: the reference's admission/plugin/webhook/predicates/rules.
import type { ServedResource } from '../../registry/resource-table.ts';
import type { AdmissionAttributes } from './admission-attributes.ts';

export interface Rule {
  apiGroups?: string[] | undefined;
  apiVersions?: string[] | undefined;
  operations?: string[] | undefined;
  resources?: string[] | undefined;
  resourceNames?: string[] | undefined;
  scope?: string | undefined;
}

const includes = (list: readonly string[] | undefined, value: string): boolean =>
  (list ?? []).some((each) => each === '*' || each === value);

function matchesResource(patterns: readonly string[] | undefined, resource: string, subresource: string): boolean {
  return (patterns ?? []).some((pattern) => {
    const [wantedResource = '', wantedSub = ''] = pattern.split('/');
    return (wantedResource === '*' || wantedResource === resource) && (wantedSub === '*' || wantedSub === subresource);
  });
}

/** A namespace is not within itself. */
function matchesScope(scope: string | undefined, { served, namespace }: AdmissionAttributes): boolean {
  const isNamespaced = served.resource.namespaced && namespace !== '' && served.resource.plural !== 'namespaces';
  if (scope === undefined || scope === '' || scope === '*') return true;
  return scope === 'Namespaced' ? isNamespaced : !isNamespaced;
}

/** Whether a rule is about the request, if its resource were `target`. */
export function ruleMatches(rule: Rule, attributes: AdmissionAttributes, { resource }: ServedResource): boolean {
  const { operation, subresource, name } = attributes;
  const names = rule.resourceNames ?? [];
  return (
    includes(rule.operations, operation) &&
    includes(rule.apiGroups, resource.group) &&
    includes(rule.apiVersions, resource.version) &&
    matchesResource(rule.resources, resource.plural, subresource) &&
    matchesScope(rule.scope, attributes) &&
    (names.length === 0 || names.includes(name))
  );
}

/**
 * The version of the resource in which the request is to be shown; undefined when no rule is about it. With the policy
 * Equivalent, a rule for another version of the same resource will do.
 */
export function matchingResource(
  rules: readonly Rule[],
  matchPolicy: string | undefined,
  attributes: AdmissionAttributes,
  equivalents: () => readonly ServedResource[],
): ServedResource | undefined {
  const { served } = attributes;
  if (rules.some((rule) => ruleMatches(rule, attributes, served))) return served;
  if (matchPolicy === 'Exact') return undefined;
  return equivalents().find((other) => rules.some((rule) => ruleMatches(rule, attributes, other)));
}

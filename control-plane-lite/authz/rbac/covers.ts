// Which of some rules go beyond others. Pure.
import type { PolicyRule } from '#kube/api/generated/rbac-v1.ts';

const has = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes('*') || list.includes(value));

/** One verb on one thing: what rules are broken down to. */
function* atoms(rule: PolicyRule): Generator<PolicyRule> {
  for (const verb of rule.verbs) {
    for (const url of rule.nonResourceURLs ?? []) yield { verbs: [verb], nonResourceURLs: [url] };
    for (const apiGroup of rule.apiGroups ?? []) {
      for (const resource of rule.resources ?? []) {
        const base = { verbs: [verb], apiGroups: [apiGroup], resources: [resource] };
        const names = rule.resourceNames ?? [];
        if (names.length === 0) yield base;
        for (const name of names) yield { ...base, resourceNames: [name] };
      }
    }
  }
}

function coversAtom(owned: PolicyRule, atom: PolicyRule): boolean {
  const [verb = ''] = atom.verbs;
  if (!has(owned.verbs, verb)) return false;
  const [url] = atom.nonResourceURLs ?? [];
  if (url !== undefined) {
    return (owned.nonResourceURLs ?? []).some(
      (each) => each === '*' || each === url || (each.endsWith('*') && url.startsWith(each.slice(0, -1))),
    );
  }
  const [apiGroup = ''] = atom.apiGroups ?? [];
  const [resource = ''] = atom.resources ?? [];
  const subresource = resource.includes('/') ? `*/${resource.slice(resource.indexOf('/') + 1)}` : undefined;
  const isResourceOwned =
    has(owned.resources, resource) || (subresource !== undefined && has(owned.resources, subresource));
  if (!has(owned.apiGroups, apiGroup) || !isResourceOwned) return false;
  const names = owned.resourceNames ?? [];
  const [name] = atom.resourceNames ?? [];
  return names.length === 0 || (name !== undefined && names.includes(name));
}

/** The parts of `wanted` that no rule of `owned` covers. */
export function uncoveredRules(owned: readonly PolicyRule[], wanted: readonly PolicyRule[]): PolicyRule[] {
  return wanted.flatMap((rule) => [...atoms(rule)]).filter((atom) => !owned.some((each) => coversAtom(each, atom)));
}

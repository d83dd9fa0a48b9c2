// Whether one RBAC rule covers an access. Pure.
import type { PolicyRule } from '#kube/api/generated/rbac-v1.ts';
import type { AccessAttributes } from '../authorizer.ts';

const covers = (list: readonly string[] | undefined, value: string): boolean =>
  list !== undefined && (list.includes(value) || list.includes('*'));

function coversResource(rule: PolicyRule, resource: string, subresource: string): boolean {
  const wanted = subresource === '' ? resource : `${resource}/${subresource}`;
  return (rule.resources ?? []).some(
    (each) => each === '*' || each === wanted || (subresource !== '' && each === `*/${subresource}`),
  );
}

function coversPath(rule: PolicyRule, path: string): boolean {
  return (rule.nonResourceURLs ?? []).some(
    (each) => each === '*' || each === path || (each.endsWith('*') && path.startsWith(each.slice(0, -1))),
  );
}

/** A rule's resourceNames restrict only accesses that name an object. */
export function ruleMatches(rule: PolicyRule, access: AccessAttributes): boolean {
  if (!covers(rule.verbs, access.verb)) return false;
  if (!access.isResource) return coversPath(rule, access.path);
  const names = rule.resourceNames ?? [];
  return (
    covers(rule.apiGroups, access.group) &&
    coversResource(rule, access.resource, access.subresource) &&
    (names.length === 0 || names.includes(access.name))
  );
}

// What the policy wants of a request: the first rule that matches decides.
import type { UserInfo } from '../../registry/request-context.ts';
import type { RequestInfo } from '../http/request-info.ts';
import type { AuditLevel, AuditPolicy, AuditRule, AuditStage, GroupResources } from './audit-policy.ts';

export interface AuditWish {
  level: AuditLevel;
  omitStages: readonly AuditStage[];
  omitManagedFields: boolean;
}

const isAny = (values: readonly string[], wanted: string): boolean => values.length === 0 || values.includes(wanted);

function resourceMatches(pattern: string, { plural, subresource }: RequestInfo): boolean {
  if (pattern === '*') return true;
  if (pattern === (subresource === '' ? plural : `${plural}/${subresource}`)) return true;
  if (pattern.startsWith('*/')) return subresource !== '' && pattern.slice(2) === subresource;
  return pattern.endsWith('/*') && pattern.slice(0, -2) === plural;
}

function groupMatches({ group, resources, resourceNames }: GroupResources, info: RequestInfo): boolean {
  if (group !== info.group) return false;
  if (resources.length === 0) return true;
  return isAny(resourceNames, info.name) && resources.some((pattern) => resourceMatches(pattern, info));
}

function placeMatches(rule: AuditRule, info: RequestInfo): boolean {
  if (rule.namespaces.length > 0 || rule.resources.length > 0) {
    if (!info.isResource || !isAny(rule.namespaces, info.namespace)) return false;
    return rule.resources.length === 0 || rule.resources.some((each) => groupMatches(each, info));
  }
  if (rule.nonResourceURLs.length === 0) return true;
  if (info.isResource) return false;
  return rule.nonResourceURLs.some(
    (pattern) =>
      pattern === '*' || pattern === info.path || (pattern.endsWith('*') && info.path.startsWith(pattern.slice(0, -1))),
  );
}

function ruleMatches(rule: AuditRule, info: RequestInfo, user: UserInfo): boolean {
  if (!isAny(rule.users, user.username)) return false;
  if (rule.userGroups.length > 0 && !rule.userGroups.some((group) => user.groups.includes(group))) return false;
  return isAny(rule.verbs, info.verb) && placeMatches(rule, info);
}

/** What to record. Without a rule that matches: nothing. */
export function matchAudit(policy: AuditPolicy, info: RequestInfo, user: UserInfo): AuditWish {
  const rule = policy.rules.find((each) => ruleMatches(each, info, user));
  return {
    level: rule?.level ?? 'None',
    omitStages: [...policy.omitStages, ...(rule?.omitStages ?? [])],
    omitManagedFields: rule?.omitManagedFields ?? policy.omitManagedFields,
  };
}

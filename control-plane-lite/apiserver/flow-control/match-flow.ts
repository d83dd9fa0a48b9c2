// Which FlowSchema a request falls under: the first whose subjects and rules both match.
import type {
  FlowSchema,
  NonResourcePolicyRule,
  PolicyRulesWithSubjects,
  ResourcePolicyRule,
  Subject,
} from '#kube/api/generated/flowcontrol-v1.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import type { RequestInfo } from '../http/request-info.ts';

const accountPrefix = 'system:serviceaccount:';
const all = '*';

function subjectMatches({ kind, user, group, serviceAccount }: Subject, who: UserInfo): boolean {
  switch (kind) {
    case 'User':
      return user !== undefined && (user.name === all || user.name === who.username);
    case 'Group':
      return group !== undefined && (group.name === all || who.groups.includes(group.name));
    case 'ServiceAccount': {
      if (serviceAccount === undefined || !who.username.startsWith(accountPrefix)) return false;
      const [namespace, name] = who.username.slice(accountPrefix.length).split(':');
      return serviceAccount.namespace === namespace && (serviceAccount.name === all || serviceAccount.name === name);
    }
    default:
      return false;
  }
}

const has = (values: readonly string[] | undefined, wanted: string): boolean =>
  values !== undefined && (values.includes(all) || values.includes(wanted));

function resourceRuleMatches(rule: ResourcePolicyRule, info: RequestInfo): boolean {
  if (!has(rule.verbs, info.verb) || !has(rule.apiGroups, info.group)) return false;
  const resource = info.subresource === '' ? info.plural : `${info.plural}/${info.subresource}`;
  if (!has(rule.resources, resource)) return false;
  return info.namespace === '' ? rule.clusterScope === true : has(rule.namespaces, info.namespace);
}

const pathMatches = (pattern: string, path: string): boolean =>
  pattern === all || pattern === path || (pattern.endsWith('*') && path.startsWith(pattern.slice(0, -1)));

function nonResourceRuleMatches(rule: NonResourcePolicyRule, info: RequestInfo): boolean {
  return has(rule.verbs, info.verb) && rule.nonResourceURLs.some((pattern) => pathMatches(pattern, info.path));
}

function ruleMatches(rule: PolicyRulesWithSubjects, info: RequestInfo): boolean {
  return info.isResource
    ? (rule.resourceRules ?? []).some((each) => resourceRuleMatches(each, info))
    : (rule.nonResourceRules ?? []).some((each) => nonResourceRuleMatches(each, info));
}

/** The schema of a request; undefined when none matches, as for a user of no group. */
export function matchFlow(schemas: readonly FlowSchema[], info: RequestInfo, who: UserInfo): FlowSchema | undefined {
  return schemas.find(({ spec }) =>
    (spec.rules ?? []).some(
      (rule) => rule.subjects.some((subject) => subjectMatches(subject, who)) && ruleMatches(rule, info),
    ),
  );
}

/** What tells the flows of one schema apart. */
export function distinguisherOf({ spec }: FlowSchema, info: RequestInfo, who: UserInfo): string {
  switch (spec.distinguisherMethod?.type) {
    case 'ByUser':
      return who.username;
    case 'ByNamespace':
      return info.namespace;
    default:
      return '';
  }
}

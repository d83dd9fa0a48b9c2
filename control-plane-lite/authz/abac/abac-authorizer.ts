// Attribute-based access control: a request is allowed when one line of the policy file matches it.
import type { UserInfo } from '../../registry/request-context.ts';
import type { AccessAttributes, Authorizer } from '../authorizer.ts';
import type { RulesOf } from '../rules-of.ts';
import type { AbacRule } from './abac-policy.ts';

const all = '*';
const reading: ReadonlySet<string> = new Set(['get', 'list', 'watch']);

const is = (pattern: string, value: string): boolean => pattern === all || pattern === value;

function subjectMatches({ user, group }: AbacRule, who: UserInfo): boolean {
  if (user === '' && group === '') return false;
  return (user === '' || is(user, who.username)) && (group === '' || group === all || who.groups.includes(group));
}

const pathMatches = (pattern: string, path: string): boolean =>
  is(pattern, path) || (pattern.endsWith(all) && path.startsWith(pattern.slice(0, -1)));

function ruleMatches(rule: AbacRule, who: UserInfo, access: AccessAttributes): boolean {
  if (!subjectMatches(rule, who)) return false;
  if (rule.readonly && !reading.has(access.verb)) return false;
  if (!access.isResource) return rule.nonResourcePath !== '' && pathMatches(rule.nonResourcePath, access.path);
  return is(rule.namespace, access.namespace) && is(rule.resource, access.resource) && is(rule.apiGroup, access.group);
}

/** The lines of the policy that are a user's, as rules. */
export function abacRulesOf(rules: readonly AbacRule[]): RulesOf {
  return (who, namespace) => {
    const own = rules.filter((rule) => subjectMatches(rule, who));
    const verbsOf = ({ readonly }: AbacRule) => (readonly ? ['get', 'list', 'watch'] : [all]);
    const resources = own.filter((rule) => rule.resource !== '' && is(rule.namespace, namespace));
    const paths = own.filter((rule) => rule.nonResourcePath !== '');
    const listed = [
      ...resources.map((rule) => ({ verbs: verbsOf(rule), apiGroups: [rule.apiGroup], resources: [rule.resource] })),
      ...paths.map((rule) => ({ verbs: verbsOf(rule), nonResourceURLs: [rule.nonResourcePath] })),
    ];
    return { rules: listed, incomplete: [] };
  };
}

export function createAbacAuthorizer(rules: readonly AbacRule[]): Authorizer {
  return {
    authorize: (user, access) =>
      rules.some((rule) => ruleMatches(rule, user, access))
        ? { verdict: 'allow', reason: '' }
        : { verdict: 'noOpinion', reason: 'No policy matched.' },
  };
}

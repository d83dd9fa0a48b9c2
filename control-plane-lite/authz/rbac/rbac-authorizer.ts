// Role-based access control. Bindings are indexed by subject; the index is made anew after a role or binding changed.

import type { PolicyRule, RoleRef, Subject } from '#kube/api/generated/rbac-v1.ts';
import { clusterrolebindings, clusterroles, rolebindings, roles } from '#kube/api/generated/resources.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import type { Authorizer } from '../authorizer.ts';
import { ruleMatches } from './rule-matches.ts';

interface Grant {
  /** Empty: in every namespace and at the cluster scope. */
  namespace: string;
  rules: readonly PolicyRule[];
  description: string;
}

export interface RbacAuthorizer extends Authorizer {
  /** Every rule that a user has in a namespace. */
  rulesFor(user: UserInfo, namespace: string): PolicyRule[];
  /** Call when a role or binding changed. */
  invalidate(): void;
}

const serviceAccountPrefix = 'system:serviceaccount:';

function subjectKey(subject: Subject, bindingNamespace: string): string {
  if (subject.kind !== 'ServiceAccount') return `${subject.kind}:${subject.name}`;
  return `User:${serviceAccountPrefix}${subject.namespace ?? bindingNamespace}:${subject.name}`;
}

const subjectText = ({ kind, name, namespace }: Subject): string =>
  kind === 'ServiceAccount' ? `ServiceAccount "${name}/${namespace ?? ''}"` : `${kind} "${name}"`;

function buildIndex(objects: ObjectReader): Map<string, Grant[]> {
  const index = new Map<string, Grant[]>();
  const rulesOf = (ref: RoleRef, namespace: string): readonly PolicyRule[] =>
    (ref.kind === 'ClusterRole'
      ? objects.get(clusterroles, '', ref.name)?.rules
      : objects.get(roles, namespace, ref.name)?.rules) ?? [];
  const add = (kind: string, name: string, namespace: string, ref: RoleRef, subjects: readonly Subject[]) => {
    const rules = rulesOf(ref, namespace);
    for (const subject of subjects) {
      const binding = namespace === '' ? name : `${name}/${namespace}`;
      const description = `RBAC: allowed by ${kind} "${binding}" of ${ref.kind} "${ref.name}" to ${subjectText(subject)}`;
      const key = subjectKey(subject, namespace);
      const grants = index.get(key);
      const grant = { namespace, rules, description };
      if (grants === undefined) index.set(key, [grant]);
      else grants.push(grant);
    }
  };
  for (const { metadata, roleRef, subjects = [] } of objects.list(clusterrolebindings)) {
    add('ClusterRoleBinding', metadata.name, '', roleRef, subjects);
  }
  for (const { metadata, roleRef, subjects = [] } of objects.list(rolebindings)) {
    add('RoleBinding', metadata.name, metadata.namespace ?? '', roleRef, subjects);
  }
  return index;
}

export function createRbacAuthorizer(objects: ObjectReader): RbacAuthorizer {
  let index: Map<string, Grant[]> | undefined;
  const grantsOf = (user: UserInfo, namespace: string): Grant[] => {
    index ??= buildIndex(objects);
    const grants: Grant[] = [];
    for (const key of [`User:${user.username}`, ...user.groups.map((group) => `Group:${group}`)]) {
      for (const grant of index.get(key) ?? []) {
        if (grant.namespace === '' || grant.namespace === namespace) grants.push(grant);
      }
    }
    return grants;
  };
  return {
    authorize: (user, access) => {
      if (user.groups.includes('system:masters')) return { verdict: 'allow', reason: '' };
      const namespace = access.isResource ? access.namespace : '';
      for (const { rules, description } of grantsOf(user, namespace)) {
        if (rules.some((rule) => ruleMatches(rule, access))) return { verdict: 'allow', reason: description };
      }
      return { verdict: 'noOpinion', reason: '' };
    },
    rulesFor: (user, namespace) => grantsOf(user, namespace).flatMap(({ rules }) => rules),
    invalidate: () => {
      index = undefined;
    },
  };
}

// Nobody grants rights that they do not have: roles and bindings are refused when their rules go beyond the caller's,
// unless the caller may escalate or bind.
import { isDeepStrictEqual } from 'node:util';
import type { ClusterRole, PolicyRule, RoleBinding } from '#kube/api/generated/rbac-v1.ts';
import { clusterroles, roles } from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { AskingAuthorizer } from '../authz/authorizer.ts';
import { uncoveredRules } from '../authz/rbac/covers.ts';
import type { RbacAuthorizer } from '../authz/rbac/rbac-authorizer.ts';
import { forbidden, notFound } from '../registry/status-errors.ts';
import { unlessAllowed } from './ask-authorizer.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';

const group = 'rbac.authorization.k8s.io';

function printRule(rule: PolicyRule): string {
  const list = (values: readonly string[]) => `[${values.map((value) => JSON.stringify(value)).join(' ')}]`;
  const parts = [
    ['APIGroups', rule.apiGroups],
    ['Resources', rule.resources],
    ['ResourceNames', rule.resourceNames],
    ['NonResourceURLs', rule.nonResourceURLs],
    ['Verbs', rule.verbs],
  ] as const;
  return `{${parts.flatMap(([name, values]) => (values === undefined || values.length === 0 ? [] : [`${name}:${list(values)}`])).join(', ')}}`;
}

/** The rules that the object would grant, and what is being done with them. */
function granted(
  request: AdmissionRequest,
): { rules: readonly PolicyRule[]; verb: string; resource: Resource; name: string } | undefined {
  const { served, object, previous, objects, namespace } = request;
  const { kind } = served.stored;
  if (kind === 'Role' || kind === 'ClusterRole') {
    const [role, before] = [object, previous] as (KubeObject & ClusterRole)[];
    if (before !== undefined && isDeepStrictEqual(before.rules, role?.rules)) return undefined;
    return { rules: role?.rules ?? [], verb: 'escalate', resource: served.stored, name: role?.metadata.name ?? '' };
  }
  const [binding, before] = [object, previous] as (KubeObject & RoleBinding)[];
  if (binding === undefined) return undefined;
  const { roleRef, subjects } = binding;
  if (before !== undefined && isDeepStrictEqual([before.roleRef, before.subjects], [roleRef, subjects]))
    return undefined;
  const isCluster = roleRef.kind === 'ClusterRole';
  const role = isCluster ? objects.get(clusterroles, '', roleRef.name) : objects.get(roles, namespace, roleRef.name);
  const resource: Resource = isCluster ? clusterroles : roles;
  if (role === undefined)
    return {
      rules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'] }],
      verb: 'bind',
      resource,
      name: roleRef.name,
    };
  return { rules: role.rules ?? [], verb: 'bind', resource, name: roleRef.name };
}

/** Asks RBAC what the caller holds. */
export function createRbacEscalation(authorizer: AskingAuthorizer, rbac: RbacAuthorizer): AdmissionPlugin {
  return {
    name: 'RBACEscalation',
    validateByAsking: (request) => {
      const { served, verb, context, namespace, objects } = request;
      if (served.stored.group !== group || (verb !== 'create' && verb !== 'update')) return undefined;
      const { user } = context;
      if (user.groups.includes('system:masters')) return undefined;
      const wanted = granted(request);
      if (wanted === undefined) return undefined;
      const { plural } = wanted.resource;
      const access = {
        isResource: true,
        verb: wanted.verb,
        group,
        version: 'v1',
        resource: plural,
        subresource: '',
        namespace,
        name: wanted.name,
      } as const;
      return unlessAllowed(authorizer, user, [access], () => {
        const isMissing =
          wanted.verb === 'bind' &&
          objects.get(wanted.resource, plural === 'roles' ? namespace : '', wanted.name) === undefined;
        if (isMissing) throw notFound(wanted.resource, wanted.name);
        const uncovered = uncoveredRules(rbac.rulesFor(user, namespace), wanted.rules);
        if (uncovered.length === 0) return;
        const who = `user ${JSON.stringify(user.username)} (groups=[${user.groups.map((each) => JSON.stringify(each)).join(' ')}])`;
        const why = `${who} is attempting to grant RBAC permissions not currently held:\n${uncovered.map(printRule).join('\n')}`;
        throw forbidden(served.resource, request.name, why);
      });
    },
  };
}

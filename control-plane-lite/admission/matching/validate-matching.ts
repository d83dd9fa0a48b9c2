// Rules of match conditions, of webhooks and policies alike, and of the resources that they are about.
import type { MatchCondition } from '#kube/api/generated/admissionregistration-v1.ts';
import { qualifiedNameFaults } from '#kube/api/names.ts';
import {
  duplicateField,
  type FieldError,
  invalidField,
  requiredField,
  tooManyField,
} from '#kube/errors/field-error.ts';
import { compileExpression, type Declarations } from '../../cel/compile-expression.ts';
import { oneOf } from '../../registry/validation/field-checks.ts';

const maxConditions = 64;
const operations = ['CREATE', 'UPDATE', 'DELETE', 'CONNECT', '*'];
const scopes = ['*', 'Cluster', 'Namespaced'];

export function validateMatchConditions(
  conditions: readonly MatchCondition[] | undefined,
  path: string,
  names: Declarations,
): FieldError[] {
  const list = conditions ?? [];
  const errors: FieldError[] = list.length > maxConditions ? [tooManyField(path, list.length, maxConditions)] : [];
  const seen = new Set<string>();
  for (const [index, { name = '', expression = '' }] of list.entries()) {
    const at = `${path}[${index}]`;
    if (expression.trim() === '') errors.push(requiredField(`${at}.expression`));
    else {
      const compiled = compileExpression(expression, names, ['bool']);
      if (!compiled.ok) errors.push(invalidField(`${at}.expression`, expression, compiled.message));
    }
    if (name === '') errors.push(requiredField(`${at}.name`));
    else {
      errors.push(...qualifiedNameFaults(name).map((fault) => invalidField(`${at}.name`, name, fault)));
      if (seen.has(name)) errors.push(duplicateField(`${at}.name`, name));
      seen.add(name);
    }
  }
  return errors;
}

interface Rule {
  apiGroups?: string[] | undefined;
  apiVersions?: string[] | undefined;
  operations?: string[] | undefined;
  resources?: string[] | undefined;
  scope?: string | undefined;
}

function starAlone(path: string, values: readonly string[] | undefined): FieldError[] {
  if ((values ?? []).length === 0) return [requiredField(path)];
  if ((values ?? []).length > 1 && values?.includes('*') === true) {
    return [invalidField(path, values, "if '*' is present, must not specify other API groups")];
  }
  return [];
}

function validateResources(path: string, resources: readonly string[] | undefined): FieldError[] {
  const list = resources ?? [];
  if (list.length === 0) return [requiredField(path)];
  const errors: FieldError[] = [];
  for (const [index, resource] of list.entries()) {
    if (resource === '') errors.push(requiredField(`${path}[${index}]`));
    if (resource === '*/*' && list.length > 1)
      errors.push(invalidField(path, list, "if '*/*' is present, must not specify other resources"));
  }
  if (list.includes('*') && list.some((each) => each !== '*' && !each.includes('/'))) {
    errors.push(invalidField(path, list, "if '*' is present, must not specify other resources without subresources"));
  }
  return errors;
}

/** Rules that say which requests are meant. */
export function validateRules(rules: readonly Rule[] | undefined, path: string): FieldError[] {
  return (rules ?? []).flatMap((rule, index) => {
    const at = `${path}[${index}]`;
    const operationErrors =
      (rule.operations ?? []).length === 0
        ? [requiredField(`${at}.operations`)]
        : (rule.operations ?? []).flatMap((each, place) => oneOf(`${at}.operations[${place}]`, each, operations));
    return [
      ...operationErrors,
      ...starAlone(`${at}.apiGroups`, rule.apiGroups),
      ...starAlone(`${at}.apiVersions`, rule.apiVersions),
      ...validateResources(`${at}.resources`, rule.resources),
      ...(rule.scope === undefined ? [] : oneOf(`${at}.scope`, rule.scope, scopes)),
    ];
  });
}

interface ClientConfig {
  url?: string | undefined;
  service?: { name: string; namespace: string; path?: string | undefined; port?: number | undefined } | undefined;
}

/** Where a webhook is. */
export function validateClientConfig({ url, service }: ClientConfig, path: string): FieldError[] {
  if ((url === undefined) === (service === undefined)) {
    return [requiredField(path, 'exactly one of url or service is required')];
  }
  if (service !== undefined) {
    return [
      ...(service.name === '' ? [requiredField(`${path}.service.name`, 'service name is required')] : []),
      ...(service.namespace === ''
        ? [requiredField(`${path}.service.namespace`, 'service namespace is required')]
        : []),
      ...((service.port ?? 443) < 1 || (service.port ?? 443) > 65535
        ? [
            invalidField(
              `${path}.service.port`,
              service.port,
              'port is not valid: must be between 1 and 65535, inclusive',
            ),
          ]
        : []),
      ...(service.path !== undefined && !service.path.startsWith('/')
        ? [invalidField(`${path}.service.path`, service.path, "must start with a '/'")]
        : []),
    ];
  }
  const parsed = URL.parse(url ?? '');
  const form = 'desired format: https://host[/path]';
  if (parsed === null)
    return [requiredField(`${path}.url`, `url must be a valid URL: ${JSON.stringify(url)}; ${form}`)];
  const errors: FieldError[] = [];
  if (parsed.protocol !== 'https:')
    errors.push(
      invalidField(`${path}.url`, parsed.protocol.slice(0, -1), `'https' is the only allowed URL scheme; ${form}`),
    );
  if (parsed.username !== '')
    errors.push(invalidField(`${path}.url`, parsed.username, `user information is not permitted in the URL; ${form}`));
  if (parsed.search !== '')
    errors.push(
      invalidField(`${path}.url`, parsed.search.slice(1), `query parameters are not permitted in the URL; ${form}`),
    );
  if (parsed.hash !== '')
    errors.push(invalidField(`${path}.url`, parsed.hash.slice(1), `fragments are not permitted in the URL; ${form}`));
  return errors;
}

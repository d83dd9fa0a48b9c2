// Which policies and bindings are about a request, and with which parameters each binding is evaluated.
import type { MatchResources, ParamKind, ParamRef } from '#kube/api/generated/admissionregistration-v1.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { objectKeyIn } from '../../registry/object-reader.ts';
import type { Registry } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { obtain } from '../../registry/shown-entries.ts';
import type { Steps } from '../../registry/steps.ts';
import { fromStored } from '../../registry/stored-version.ts';
import type { StoredEntry } from '../../storage/backend.ts';
import { type AdmissionAttributes, equivalentResources } from '../matching/admission-attributes.ts';
import { matchingResource, ruleMatches } from '../matching/match-rules.ts';
import { namespaceMatches, objectMatches } from '../matching/match-selectors.ts';

export type MatchingDeps = Pick<Registry, 'objects' | 'table' | 'cache'>;

/** The version in which the policy sees the request; undefined when it is not about it. */
export function policyResource(
  constraints: MatchResources | undefined,
  attributes: AdmissionAttributes,
  { objects, table }: MatchingDeps,
): ServedResource | undefined {
  const {
    resourceRules = [],
    excludeResourceRules = [],
    matchPolicy,
    namespaceSelector,
    objectSelector,
  } = constraints ?? {};
  if (!namespaceMatches(namespaceSelector, attributes, objects) || !objectMatches(objectSelector, attributes))
    return undefined;
  const equivalents = () => equivalentResources(table, attributes);
  if (matchingResource(excludeResourceRules, matchPolicy, attributes, equivalents) !== undefined) return undefined;
  return matchingResource(resourceRules, matchPolicy, attributes, equivalents);
}

/** A binding without rules is about everything that its policy is about. */
export function bindingMatches(
  resources: MatchResources | undefined,
  attributes: AdmissionAttributes,
  deps: MatchingDeps,
): boolean {
  if (resources === undefined) return true;
  if ((resources.resourceRules ?? []).length > 0) return policyResource(resources, attributes, deps) !== undefined;
  const { excludeResourceRules = [], namespaceSelector, objectSelector } = resources;
  return (
    namespaceMatches(namespaceSelector, attributes, deps.objects) &&
    objectMatches(objectSelector, attributes) &&
    !excludeResourceRules.some((rule) => ruleMatches(rule, attributes, attributes.served))
  );
}

/** A binding that cannot be evaluated, in the reference's words. */
export class ConfigurationError extends Error {}

function* shownObject(served: ServedResource, entry: StoredEntry): Steps<KubeObject> {
  const shown = served.view === undefined ? [entry] : yield* obtain(served.view.show([entry]));
  const object = JSON.parse((shown[0] ?? entry).value.toString()) as KubeObject;
  return served.view === undefined ? fromStored(served, object) : object;
}

/**
 * The parameters of a binding: one evaluation for each. Null: there are none to be had, and none are wanted.
 * An empty answer: the binding has nothing to say. Throws ConfigurationError.
 */
export function* paramsOf(
  kind: ParamKind | undefined,
  reference: ParamRef | undefined,
  attributes: AdmissionAttributes,
  { table, cache }: MatchingDeps,
): Steps<(KubeObject | null)[]> {
  if (kind === undefined || reference === undefined) return [null];
  const { apiVersion = '', kind: name = '' } = kind;
  const served = table.findKind(apiVersion, name);
  if (served === undefined || served.storagePrefix === '') {
    throw new ConfigurationError(
      `failed to configure policy: failed to find resource referenced by paramKind: '${apiVersion}, Kind=${name}'`,
    );
  }
  let namespace = '';
  if (served.resource.namespaced) {
    namespace = reference.namespace ?? attributes.namespace;
    if (namespace === '') {
      throw new ConfigurationError(
        'cannot use namespaced paramRef in policy binding that matches cluster-scoped resources',
      );
    }
  } else if ((reference.namespace ?? '') !== '') {
    throw new ConfigurationError('paramRef.namespace must not be provided for a cluster-scoped `paramKind`');
  }
  const stored = cache.resource(served.storagePrefix);
  const found: KubeObject[] = [];
  if (reference.selector !== undefined) {
    const within = namespace === '' ? served.storagePrefix : `${served.storagePrefix}${namespace}/`;
    for (const entry of stored.walk(within)) {
      if (labelSelectorMatches(reference.selector, stored.attributes(entry).labels))
        found.push(yield* shownObject(served, entry));
    }
  } else {
    const entry = stored.get(objectKeyIn(served.storagePrefix, namespace, reference.name ?? ''));
    if (entry !== undefined) found.push(yield* shownObject(served, entry));
  }
  if (found.length > 0) return found;
  if (reference.parameterNotFoundAction === 'Allow') return [];
  throw new ConfigurationError('no params found for policy binding with `Deny` parameterNotFoundAction');
}

// APIServices of this server's own: one for each group version of custom resources, which comes and goes with it; those
// of built-in groups are bootstrap objects. They are always available.
import type { APIService } from '#kube/api/generated/apiregistration-v1.ts';
import { apiservices } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import { timestamp } from '../../registry/object-meta.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { createObject } from '../../registry/verbs/create.ts';
import { deleteObject } from '../../registry/verbs/delete.ts';
import { updateObject } from '../../registry/verbs/update.ts';

const label = 'kube-aggregator.kubernetes.io/automanaged';

/**
 * Brings the APIServices of custom resources in line with what is served. `own`: group versions that are served beside
 * the registry; their APIServices may be given to another server.
 */
export async function syncLocalApiServices(
  registry: Registry,
  own: readonly string[],
  context: RequestContext,
): Promise<void> {
  const served = registry.table.get(apiservices);
  const wanted = new Map(
    registry.table.all
      .filter(({ isCustom, resource }) => isCustom === true && !registry.table.isBuiltInGroup(resource.group))
      .map(({ resource: { group, version } }) => [`${version}.${group}`, { group, version }]),
  );
  const existing = registry.objects.list(apiservices);
  for (const { metadata, spec } of existing) {
    const isOurs = metadata.labels?.[label] === 'true' && spec.service === undefined;
    if (!isOurs || wanted.has(metadata.name)) continue;
    try {
      await deleteObject(registry, served, '', metadata.name, {}, context);
    } catch (error) {
      if (!isNotFound(error)) throw error;
    }
  }
  const labels = new Map([...wanted.keys()].map((name) => [name, 'true']));
  for (const groupVersion of own) {
    const [group = '', version = ''] = groupVersion.split('/');
    wanted.set(`${version}.${group}`, { group, version });
    labels.set(`${version}.${group}`, 'onstart');
  }
  for (const [name, { group, version }] of wanted) {
    if (existing.some(({ metadata }) => metadata.name === name)) continue;
    const object = {
      apiVersion: 'apiregistration.k8s.io/v1',
      kind: 'APIService',
      metadata: { name, labels: { [label]: labels.get(name) ?? 'true' } },
      spec: { group, version, groupPriorityMinimum: labels.get(name) === 'true' ? 1000 : 100, versionPriority: 100 },
    } as KubeObject & APIService;
    try {
      await createObject(registry, served, '', object, context);
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }
  for (const { metadata, spec, status } of registry.objects.list(apiservices)) {
    if (spec.service !== undefined || (status?.conditions ?? []).some(({ reason }) => reason === 'Local')) continue;
    const condition = {
      type: 'Available',
      status: 'True',
      lastTransitionTime: timestamp(context.nowMs),
      reason: 'Local',
      message: 'Local APIServices are always available',
    };
    const change = (current: KubeObject): KubeObject =>
      ({ ...current, status: { conditions: [condition] } }) as KubeObject;
    const request = { namespace: '', name: metadata.name, subresource: 'status', change, isPatch: true };
    await updateObject(registry, served, request, context);
  }
}

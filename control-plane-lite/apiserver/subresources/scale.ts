// The scale subresource: replicas and selector of a workload as an autoscaling/v1 Scale.
import type { Scale } from '#kube/api/generated/autoscaling-v1.ts';
import type { LabelSelector } from '#kube/api/generated/meta-v1.ts';
import { formatSelector, requirementsOf, requirementsOfMap } from '#kube/api/label-selector.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { invalidObject } from '#kube/errors/field-error.ts';
import { readPath, withPath } from '../../registry/custom/scale-paths.ts';
import { objectKeyIn } from '../../registry/object-reader.ts';
import { cacheOf } from '../../registry/registry.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { shownEntries } from '../../registry/shown-entries.ts';
import { badRequest, notFound } from '../../registry/status-errors.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { type ApiContext, namespaceOf, type ResourceHandler } from '../api-context.ts';
import { patcherFor, patchKindOf } from '../handlers/patch.ts';
import { requestContext } from '../handlers/request-options.ts';
import { decodeAs, parseBody, parseFieldValidation } from '../http/decode-body.ts';
import { type Exchange, sendObject } from '../http/exchange.ts';
import { readBody } from '../http/read-body.ts';

type Scalable = KubeObject & {
  spec?: { replicas?: number; selector?: LabelSelector | Record<string, string> };
  status?: { replicas?: number; selector?: string };
};

const scaleKind = { group: 'autoscaling', version: 'v1', kind: 'Scale' };

function selectorText(object: Scalable, served: ServedResource): string {
  const { selector } = object.spec ?? {};
  if (served.resource.kind === 'ReplicationController') {
    return formatSelector(requirementsOfMap(selector as Record<string, string> | undefined));
  }
  return formatSelector(requirementsOf(selector as LabelSelector | undefined) ?? []);
}

/** The numbers and the selector, where the kind keeps them. */
function shownScale(object: Scalable, served: ServedResource): { wanted: number; found: number; selector: string } {
  const { scalePaths } = served;
  if (scalePaths === undefined) {
    const [wanted, found] = [object.spec?.replicas ?? 0, object.status?.replicas ?? 0];
    return { wanted, found, selector: selectorText(object, served) };
  }
  const number = (path: readonly string[]) => Number(readPath(object, path) ?? 0);
  const selector = scalePaths.labelSelector === undefined ? '' : readPath(object, scalePaths.labelSelector);
  return {
    wanted: number(scalePaths.specReplicas),
    found: number(scalePaths.statusReplicas),
    selector: typeof selector === 'string' ? selector : '',
  };
}

function scaleOf(object: Scalable, served: ServedResource): Scale & KubeObject {
  const { name, namespace, uid, resourceVersion, creationTimestamp } = object.metadata;
  const { wanted, found, selector } = shownScale(object, served);
  return {
    kind: 'Scale',
    apiVersion: 'autoscaling/v1',
    metadata: { name, namespace, uid, resourceVersion, creationTimestamp } as KubeObject['metadata'],
    spec: { replicas: wanted },
    status: { replicas: found, ...(selector === '' ? {} : { selector }) },
  };
}

async function current(api: ApiContext, exchange: Exchange, served: ServedResource): Promise<Scalable> {
  const { name } = exchange.info;
  const key = objectKeyIn(served.storagePrefix, namespaceOf(exchange, served), name);
  const entry = cacheOf(api.registry, served).get(key);
  if (entry === undefined) throw notFound(served.resource, name);
  const [shown = entry] = await shownEntries(served, [entry]);
  return api.registry.parse(shown) as Scalable;
}

const getScale: ResourceHandler = async (api, exchange, served) => {
  sendObject(exchange, 200, scaleOf(await current(api, exchange, served), served));
};

/** Sets the replicas that `change` makes of the current scale. */
async function changeScale(
  api: ApiContext,
  exchange: Exchange,
  served: ServedResource,
  change: (scale: Scale & KubeObject) => Scale & KubeObject,
): Promise<void> {
  const { name } = exchange.info;
  const request = {
    namespace: namespaceOf(exchange, served),
    name,
    subresource: 'scale',
    isPatch: true,
    change: (object: KubeObject): KubeObject => {
      const scale = change(scaleOf(object as Scalable, served));
      const replicas = scale.spec?.replicas ?? 0;
      if (replicas < 0) {
        throw invalidObject('Scale', 'autoscaling', name, [
          {
            field: 'spec.replicas',
            reason: 'FieldValueInvalid',
            message: `Invalid value: ${replicas}: must be greater than or equal to 0`,
          },
        ]);
      }
      if (scale.metadata.name !== name)
        throw badRequest(
          `the name of the object (${scale.metadata.name}) does not match the name on the URL (${name})`,
        );
      const { resourceVersion = object.metadata.resourceVersion } = scale.metadata;
      const metadata = { ...object.metadata, ...(resourceVersion === undefined ? {} : { resourceVersion }) };
      const path = served.scalePaths?.specReplicas ?? ['spec', 'replicas'];
      return withPath({ ...object, metadata }, path, replicas);
    },
  };
  const { object, entry } = await updateObject(api.registry, served, request, requestContext(exchange));
  const stored = entry === undefined ? object : api.registry.parse(entry);
  sendObject(exchange, 200, scaleOf(stored as Scalable, served));
}

const putScale: ResourceHandler = async (api, exchange, served) => {
  const body = parseBody(
    await readBody(exchange.request),
    exchange.request.headers['content-type'],
    'Scale',
    exchange.protobuf,
  );
  const validation = parseFieldValidation(exchange.info);
  const warn = (text: string) => exchange.warnings.push(text);
  const scale = decodeAs(body, scaleKind, api.registry.schema, validation, warn) as Scale & KubeObject;
  await changeScale(api, exchange, served, () => scale);
};

const patchScale: ResourceHandler = async (api, exchange, served) => {
  const kind = patchKindOf(exchange);
  const patch = parseBody(await readBody(exchange.request), 'application/yaml', 'Scale', exchange.protobuf);
  const apply = patcherFor(api, kind === 'apply' ? 'merge' : kind, patch, scaleKind);
  const validation = parseFieldValidation(exchange.info);
  const warn = (text: string) => exchange.warnings.push(text);
  await changeScale(
    api,
    exchange,
    served,
    (scale) => decodeAs(apply(scale), scaleKind, api.registry.schema, validation, warn) as Scale & KubeObject,
  );
};

export const scaleHandlers = { get: getScale, update: putScale, patch: patchScale } as const;

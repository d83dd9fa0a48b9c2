// Binding: puts a pod onto a node, once. What the scheduler does for every pod.
import type { Binding, Pod } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { timestamp } from '../../registry/object-meta.ts';
import { conflict, unexplained } from '../../registry/status-errors.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import type { ResourceHandler } from '../api-context.ts';
import { requestContext } from '../handlers/request-options.ts';
import { decodeAs, parseBody, parseFieldValidation } from '../http/decode-body.ts';
import { sendObject } from '../http/exchange.ts';
import { readBody } from '../http/read-body.ts';

const bindingKind = { group: '', version: 'v1', kind: 'Binding' };

/** Conflicts name the subresource. */
const bindings = { ...pods, plural: 'pods/binding' };

function bind(pod: KubeObject & Pod, binding: Binding, nowMs: number): KubeObject {
  const { name } = pod.metadata;
  const node = binding.target.name ?? '';
  if (pod.metadata.deletionTimestamp !== undefined) {
    throw conflict(bindings, name, `pod ${name} is being deleted, cannot be assigned to a host`);
  }
  if ((pod.spec?.nodeName ?? '') !== '') {
    throw conflict(bindings, name, `pod ${name} is already assigned to node ${JSON.stringify(pod.spec?.nodeName)}`);
  }
  if ((pod.spec?.schedulingGates ?? []).length > 0) {
    throw conflict(bindings, name, `pod ${name} has non-empty .spec.schedulingGates`);
  }
  const { annotations = {}, labels = {} } = binding.metadata ?? {};
  const scheduled = {
    type: 'PodScheduled',
    status: 'True',
    lastTransitionTime: timestamp(nowMs),
    observedGeneration: pod.metadata.generation,
  };
  const others = (pod.status?.conditions ?? []).filter(({ type }) => type !== 'PodScheduled');
  const { nominatedNodeName: _, ...status } = pod.status ?? {};
  return {
    ...pod,
    metadata: {
      ...pod.metadata,
      ...(Object.keys(annotations).length > 0 ? { annotations: { ...pod.metadata.annotations, ...annotations } } : {}),
      ...(Object.keys(labels).length > 0 ? { labels: { ...pod.metadata.labels, ...labels } } : {}),
    },
    spec: { ...pod.spec, nodeName: node },
    status: { ...status, conditions: [...others, scheduled] },
  } as KubeObject;
}

/** POST pods/NAME/binding, and POST bindings with the pod's name in the object. */
export const postBinding: ResourceHandler = async (api, exchange) => {
  const body = parseBody(
    await readBody(exchange.request),
    exchange.request.headers['content-type'],
    'Binding',
    exchange.protobuf,
  );
  const { registry } = api;
  const validation = parseFieldValidation(exchange.info);
  const warn = (text: string) => exchange.warnings.push(text);
  const binding = decodeAs(body, bindingKind, registry.schema, validation, warn) as KubeObject & Binding;
  if ((binding.target.name ?? '') === '') throw unexplained('target.name: Required value');
  if ((binding.target.kind ?? '') !== '' && binding.target.kind !== 'Node') {
    throw unexplained(
      `target.kind: Unsupported value: ${JSON.stringify(binding.target.kind)}: supported values: "Node", "<empty>"`,
    );
  }
  const name = exchange.info.subresource === 'binding' ? exchange.info.name : binding.metadata.name;
  const context = requestContext(exchange);
  const change = (pod: KubeObject) => {
    const { uid = '' } = binding.metadata;
    if (uid !== '' && uid !== pod.metadata.uid) {
      throw conflict(
        pods,
        name,
        `Precondition failed: UID in precondition: ${uid}, UID in object meta: ${pod.metadata.uid}`,
      );
    }
    return bind(pod as KubeObject & Pod, binding, context.nowMs);
  };
  const { namespace } = exchange.info;
  // As in the reference, nobody owns the fields that a binding sets.
  const manageFields = () => undefined;
  const request = { namespace, name, subresource: 'binding', change, isPatch: true, manageFields };
  await updateObject(registry, registry.table.get(pods), request, context);
  sendObject(exchange, 201, { kind: 'Status', apiVersion: 'v1', metadata: {}, status: 'Success', code: 201 });
};

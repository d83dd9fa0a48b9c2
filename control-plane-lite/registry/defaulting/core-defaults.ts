// Defaults of namespaces, nodes, secrets, events and custom resource definitions.

import type { CustomResourceDefinition } from '#kube/api/generated/apiextensions-v1.ts';
import type { APIService } from '#kube/api/generated/apiregistration-v1.ts';
import type { Event, Namespace, Node, Secret } from '#kube/api/generated/core-v1.ts';

export function defaultNamespace(namespace: Namespace): void {
  const { metadata } = namespace;
  // With generateName the name is not known yet; the registry calls again when it is.
  if (metadata.name) metadata.labels = { ...metadata.labels, 'kubernetes.io/metadata.name': metadata.name };
  namespace.spec ??= {};
  namespace.status ??= {};
}

export function defaultNode(node: Node): void {
  node.spec ??= {};
  node.status ??= {};
  const { status } = node;
  if (status.capacity !== undefined) status.allocatable ??= { ...status.capacity };
  status.daemonEndpoints ??= { kubeletEndpoint: { Port: 0 } };
  status.nodeInfo ??= {
    machineID: '',
    systemUUID: '',
    bootID: '',
    kernelVersion: '',
    osImage: '',
    containerRuntimeVersion: '',
    kubeletVersion: '',
    kubeProxyVersion: '',
    operatingSystem: '',
    architecture: '',
  };
}

/** `stringData` is write-only: it ends up in `data`. */
export function defaultSecret(secret: Secret): void {
  secret.type ||= 'Opaque';
  if (secret.stringData === undefined) return;
  secret.data ??= {};
  for (const [key, text] of Object.entries(secret.stringData)) {
    secret.data[key] = Buffer.from(text, 'utf8').toString('base64');
  }
  delete secret.stringData;
}

/** Fields of events that clients expect to be there even when empty. */
export function defaultEvent(event: Event): void {
  const fields = event as unknown as Record<string, unknown>;
  event.source ??= {};
  fields['firstTimestamp'] ??= null;
  fields['lastTimestamp'] ??= null;
  fields['eventTime'] ??= null;
  event.reportingComponent ??= '';
  event.reportingInstance ??= '';
}

export function defaultApiService({ spec }: APIService): void {
  if (spec.service !== undefined) spec.service.port ??= 443;
}

export function defaultCustomResourceDefinition(definition: CustomResourceDefinition): void {
  const { names } = definition.spec;
  names.singular ||= names.kind.toLowerCase();
  names.listKind ||= `${names.kind}List`;
  definition.spec.conversion ??= { strategy: 'None' };
  const webhookService = definition.spec.conversion.webhook?.clientConfig?.service;
  if (webhookService !== undefined) webhookService.port ??= 443;
}

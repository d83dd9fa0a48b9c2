// PodSecurity: the level that a namespace's labels ask for is enforced on pods, and warned about for whatever makes
// pods.
import type { PodSpec } from '#kube/api/generated/core-v1.ts';
import { namespaces } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { forbidden } from '../../registry/status-errors.ts';
import type { AdmissionPlugin, AdmissionRequest } from '../plugin.ts';
import { type Level, podViolations } from './checks.ts';

const labelPrefix = 'pod-security.kubernetes.io/';
const checkedSubresources = new Set(['', 'ephemeralcontainers']);

interface Template {
  metadata?: { annotations?: Record<string, string> };
  spec?: PodSpec;
}

/** Where each kind that makes pods keeps its template. */
function templateOf({ kind }: { kind: string }, object: KubeObject): Template | undefined {
  const fields = object as KubeObject & {
    template?: Template;
    spec?: { template?: Template; jobTemplate?: { spec?: { template?: Template } } };
  };
  switch (kind) {
    case 'Deployment':
    case 'ReplicaSet':
    case 'StatefulSet':
    case 'DaemonSet':
    case 'Job':
    case 'ReplicationController':
      return fields.spec?.template;
    case 'CronJob':
      return fields.spec?.jobTemplate?.spec?.template;
    case 'PodTemplate':
      return fields.template;
    default:
      return undefined;
  }
}

function levelOf(labels: Readonly<Record<string, string>>, mode: string): Level {
  const value = labels[`${labelPrefix}${mode}`];
  return value === 'baseline' || value === 'restricted' ? value : 'privileged';
}

function describe(level: Level, version: string, template: Template): string | undefined {
  const violations =
    template.spec === undefined ? [] : podViolations(level, template.spec, template.metadata?.annotations);
  if (violations.length === 0) return undefined;
  const list = violations.map(({ reason, detail }) => `${reason} (${detail})`).join(', ');
  return `violate PodSecurity "${level}:${version}": ${list}`;
}

export const podSecurity: AdmissionPlugin = {
  name: 'PodSecurity',
  validate: (request: AdmissionRequest) => {
    const { verb, served, subresource, object, objects, namespace, context } = request;
    if ((verb !== 'create' && verb !== 'update') || !checkedSubresources.has(subresource) || object === undefined)
      return undefined;
    const isPod = served.stored.group === '' && served.stored.kind === 'Pod';
    const template = isPod ? (object as Template) : templateOf(served.stored, object);
    if (template === undefined) return undefined;
    const labels = objects.get(namespaces, '', namespace)?.metadata.labels ?? {};
    const version = (mode: string) => labels[`${labelPrefix}${mode}-version`] ?? 'latest';
    const enforced = isPod ? describe(levelOf(labels, 'enforce'), version('enforce'), template) : undefined;
    if (enforced !== undefined)
      throw forbidden(served.resource, request.name, `violates${enforced.slice('violate'.length)}`);
    const warned = describe(levelOf(labels, 'warn'), version('warn'), template);
    if (warned !== undefined) context.warn(`would ${warned}`);
    return undefined;
  },
};

// Pods from manifests of the node (pkg/kubelet/config/common.go: applyDefaults). Pure but for the hash.
import { createHash } from 'node:crypto';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { configHashAnnotation } from '../container/labels.ts';
import { containersOf } from '../container/pod-containers.ts';
import { withSource } from './api-pod-source.ts';
import { apiReferenceOf } from './api-references.ts';

/** A manifest that is not a pod the node can run; the message says why. */
export class ManifestError extends Error {
  readonly code = 'MANIFEST';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ManifestError';
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Where a manifest came from. */
export interface StaticOrigin {
  source: 'file' | 'http';
  /** The path or the URL. */
  place: string;
  nodeName: string;
}

/** The first document of the text: manifests hold one. */
function decode(text: string): unknown {
  const [first = ''] = text.replace(/^---[^\n]*\n/, '').split(/^---(?:\s|$)/m);
  try {
    return parseYaml(first);
  } catch (error) {
    throw new ManifestError(`not YAML: ${(error as Error).message}`, { cause: error });
  }
}

function podOf(decoded: unknown): Pod {
  if (!isRecord(decoded) || decoded['apiVersion'] !== 'v1' || decoded['kind'] !== 'Pod') {
    throw new ManifestError('not a Pod of v1');
  }
  const { metadata, spec } = decoded;
  if (!isRecord(metadata) || typeof metadata['name'] !== 'string') throw new ManifestError('metadata.name is missing');
  if (!isRecord(spec) || !Array.isArray(spec['containers']) || spec['containers'].length === 0) {
    throw new ManifestError('spec.containers is missing');
  }
  const named = spec['containers'].every((item) => isRecord(item) && typeof item['name'] === 'string');
  if (!named) throw new ManifestError('a container has no name');
  const pod = decoded as unknown as Pod;
  for (const [field, value] of [
    ['name', pod.metadata.name],
    ['namespace', pod.metadata.namespace ?? 'default'],
    ...containersOf(pod).map(({ container }) => ['the name of a container', container.name] as const),
  ] as const) {
    // They become parts of paths on the node.
    if (!/^[a-z0-9]([-.a-z0-9]*[a-z0-9])?$/.test(value)) throw new ManifestError(`${field} is not valid: ${value}`);
  }
  if (pod.metadata.uid !== undefined && !/^[-.\w]{1,64}$/.test(pod.metadata.uid)) {
    throw new ManifestError('metadata.uid is not valid');
  }
  if ((pod.spec.ephemeralContainers ?? []).length > 0) {
    throw new ManifestError('static pods may not have ephemeral containers');
  }
  const reference = apiReferenceOf(pod);
  if (reference !== undefined) throw new ManifestError(`static pods may not reference ${reference}`);
  return pod;
}

/** The pod as the node runs it: its name ends with the node's, and no taint drives it away. */
function complete(pod: Pod, { source, place, nodeName }: StaticOrigin, seen: string): Pod {
  const kind = source === 'file' ? 'file' : 'url';
  const hash = createHash('md5')
    .update(`host:${nodeName}\n${kind}:${place}\n`)
    .update(JSON.stringify(pod))
    .digest('hex');
  const uid = pod.metadata.uid ?? hash;
  const named: Pod = {
    ...pod,
    metadata: {
      ...pod.metadata,
      name: `${pod.metadata.name}-${nodeName.toLowerCase()}`,
      namespace: pod.metadata.namespace ?? 'default',
      uid,
      annotations: { ...pod.metadata.annotations, [configHashAnnotation]: uid },
    },
    spec: {
      restartPolicy: 'Always',
      terminationGracePeriodSeconds: 30,
      ...pod.spec,
      nodeName,
      tolerations: [...(pod.spec.tolerations ?? []), { operator: 'Exists', effect: 'NoExecute' }],
    },
    status: { phase: 'Pending' },
  };
  return withSource(named, source, seen);
}

/** The pod a manifest describes; its uid follows from place, node and content. Throws ManifestError. */
export function parseStaticPod(text: string, origin: StaticOrigin, seen: string): Pod {
  return complete(podOf(decode(text)), origin, seen);
}

/** The pods of a manifest that holds one, or a list of them. Throws ManifestError. */
export function parseStaticPods(text: string, origin: StaticOrigin, seen: string): Pod[] {
  const decoded = decode(text);
  if (!isRecord(decoded) || (decoded['kind'] !== 'PodList' && decoded['kind'] !== 'List')) {
    return [complete(podOf(decoded), origin, seen)];
  }
  const { items } = decoded;
  if (!Array.isArray(items)) throw new ManifestError('the list has no items');
  // Items of a PodList need not repeat what they are.
  return items.map((item) =>
    complete(podOf(isRecord(item) ? { apiVersion: 'v1', kind: 'Pod', ...item } : item), origin, seen),
  );
}

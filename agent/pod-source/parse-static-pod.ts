// A pod from a manifest file of the node (pkg/kubelet/config/common.go: applyDefaults). Pure but for the hash.
import { createHash } from 'node:crypto';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { parseYaml } from '#kube/process/parse-yaml.ts';
import { configHashAnnotation } from '../container/labels.ts';
import { withSource } from './api-pod-source.ts';

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

function decode(text: string): Pod {
  let decoded: unknown;
  try {
    decoded = parseYaml(text);
  } catch (error) {
    throw new ManifestError(`not YAML: ${(error as Error).message}`, { cause: error });
  }
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
  return decoded as unknown as Pod;
}

/**
 * The pod a manifest describes: its name ends with the node's, its uid follows from file, node and content, and no
 * taint drives it away. Throws ManifestError.
 */
export function parseStaticPod(text: string, file: string, nodeName: string, seen: string): Pod {
  const pod = decode(text);
  const hash = createHash('md5').update(`host:${nodeName}\nfile:${file}\n`).update(JSON.stringify(pod)).digest('hex');
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
  return withSource(named, 'file', seen);
}

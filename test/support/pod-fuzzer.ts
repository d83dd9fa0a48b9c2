// Pods that nobody would write: made field by field from the API's schema, with hostile names, paths and numbers. The
// same seed makes the same pod.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { loadSchema, type Type } from '../../control-plane-lite/registry/schema.ts';

const podType = loadSchema().typeOf({ group: '', version: 'v1', kind: 'Pod' });
const maxDepth = 9;

/** Numbers below `below`, reproducible. */
export function createRandom(seed: number): (below: number) => number {
  let state = (seed * 2_654_435_761) % 2_147_483_647 || 1;
  return (below) => {
    state = (state * 48_271) % 2_147_483_647;
    return state % below;
  };
}

/** Words that fields expect, so that a pod gets somewhere before something is odd. */
const expected: Record<string, readonly string[]> = {
  restartPolicy: ['Always', 'OnFailure', 'Never'],
  imagePullPolicy: ['Always', 'IfNotPresent', 'Never'],
  dnsPolicy: ['ClusterFirst', 'Default', 'None', 'ClusterFirstWithHostNet'],
  terminationMessagePolicy: ['File', 'FallbackToLogsOnError'],
  image: ['image:1', 'image:2', 'UPPER/case', 'image@sha256:123'],
  medium: ['', 'Memory', 'HugePages', 'HugePages-2Mi'],
  mountPropagation: ['None', 'HostToContainer', 'Bidirectional'],
  fieldPath: ['metadata.name', 'metadata.labels', "metadata.annotations['x']", 'status.podIP', 'spec.nodeName'],
  resource: ['limits.cpu', 'requests.memory', 'limits.ephemeral-storage', 'limits.hugepages-2Mi'],
  protocol: ['TCP', 'UDP', 'SCTP'],
  operator: ['In', 'NotIn', 'Exists'],
  type: ['RuntimeDefault', 'Localhost', 'Unconfined'],
};

/** Hostile texts; `token` marks every file that could come of them. */
function hostileTexts(token: string): string[] {
  return [
    token,
    `../../../../${token}`,
    `../${token}`,
    `/${token}`,
    `/tmp/${token}`,
    `..`,
    `.`,
    '',
    `..data/${token}`,
    `a/../../${token}`,
    `${token}\u0000x`,
    `${token}\n`,
    `$(${token})`,
    '$(A)$$(A)$(',
    `-${token}`,
    `${'x'.repeat(300)}`,
    `ü${token}`,
    '__proto__',
    'constructor',
    'toString',
  ];
}

const quantities = ['1', '100m', '1Gi', '0', '-1', '1e30', '12E', 'x', ''];
const numbers = [0, 1, 2, -1, 65_536, 2_147_483_647, -2_147_483_648];

/** Makes pods whose hostile names all contain `token`. */
export function fuzzPod(seed: number, token: string): Pod {
  const random = createRandom(seed);
  const pick = <T>(list: readonly T[]): T => list[random(list.length)] as T;
  const hostile = hostileTexts(token);
  const names = ['a', 'b', 'c'];

  function text(field: string, format: string): string {
    const words = expected[field];
    if (words !== undefined && random(8) > 0) return pick(words);
    if (format === 'date-time') return '2026-01-01T00:00:00Z';
    if (format === 'quantity') return pick(quantities);
    if (field === 'name' && random(4) > 0) return pick(names);
    return random(2) === 0 ? pick(names) : pick(hostile);
  }

  function value(type: Type, field: string, depth: number): unknown {
    switch (type.kind) {
      case 'scalar':
        if (type.type === 'boolean') return random(2) === 0;
        if (type.type !== 'string') return pick(numbers);
        return text(field, type.format);
      case 'list':
        return Array.from({ length: random(3) + 1 }, () => value(type.items, field, depth + 1));
      case 'map':
        return Object.fromEntries(
          Array.from({ length: random(3) }, () => [text('', ''), value(type.values, field, depth)]),
        );
      case 'any':
        return pick([1, 'x', null, {}]);
      case 'object': {
        const entries: [string, unknown][] = [];
        for (const [name, { type: inner }] of type.fields) {
          const wanted = type.required.has(name) || (depth < maxDepth && random(depth < 2 ? 3 : 4) === 0);
          if (wanted) entries.push([name, value(inner, name, depth + 1)]);
        }
        return Object.fromEntries(entries);
      }
    }
  }

  const specType = podType.fields.get('spec')?.type;
  if (specType === undefined) throw new Error('a pod has no spec');
  // Built by the schema, so it has the shape of the type, whatever its values are.
  const spec = value(specType, 'spec', 0) as Pod['spec'];
  // A directory of the host may be wherever the pod says: not what is looked for here.
  for (const volume of spec.volumes ?? []) delete volume.hostPath;
  // Most pods keep their containers apart, so that they get somewhere.
  const containers = [...spec.containers, ...(spec.initContainers ?? []), ...(spec.ephemeralContainers ?? [])];
  if (random(8) > 0) for (const [index, container] of containers.entries()) container.name = `${pick(names)}${index}`;
  for (const container of containers) if (random(8) > 0) container.image ??= 'image:1';
  if (random(8) > 0) for (const volume of spec.volumes ?? []) volume.name = pick(names);
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: 'fuzzed',
      namespace: 'default',
      uid: '11111111-2222-3333-4444-555555555555',
      labels: { [pick(hostile)]: pick(hostile) },
      annotations: { x: pick(hostile), [pick(hostile)]: 'y' },
    },
    spec: {
      ...spec,
      terminationGracePeriodSeconds: random(3),
      ...(random(2) === 0 ? {} : { activeDeadlineSeconds: 60 }),
    },
    status: { phase: 'Pending' },
  };
}

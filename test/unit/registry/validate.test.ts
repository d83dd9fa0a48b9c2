import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import type { Deployment } from '#kube/api/generated/apps-v1.ts';
import type { Node, Pod, PodSpec, Service } from '#kube/api/generated/core-v1.ts';
import * as resources from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import { invalidObject } from '#kube/errors/field-error.ts';
import { applyDefaults } from '../../../control-plane-lite/registry/defaulting/apply-defaults.ts';
import { validateCreate, validateUpdate } from '../../../control-plane-lite/registry/validation/validate.ts';

interface Recording {
  method: string;
  path: string;
  body: KubeObject;
  status: number;
  answer: { message: string; details: unknown };
}

const data = join(import.meta.dirname, '../../data/api');
const errors = JSON.parse(readFileSync(join(data, 'errors.json'), 'utf8')) as Recording[];
const defaults = JSON.parse(readFileSync(join(data, 'defaults.json'), 'utf8')) as {
  name: string;
  path: string;
  answer: KubeObject;
}[];

function resourceOf(path: string): Resource {
  const parts = path
    .split('?')[0]!
    .split('/')
    .filter((part) => part !== '');
  const [group, version] = parts[0] === 'api' ? ['', parts[1]] : [parts[1], parts[2]];
  const found = (Object.values(resources) as Resource[]).find(
    (r) => r.plural === parts.at(-1) && r.group === group && r.version === version,
  );
  assert.ok(found, path);
  return found;
}

function created<T extends KubeObject>(resource: Resource<T>, object: object): T {
  const decoded = structuredClone(object) as T;
  if (resource.namespaced) decoded.metadata.namespace ??= 'demo';
  applyDefaults(resource, decoded);
  return decoded;
}

/** Answers that come from allocating addresses and ports, which is not validation. */
const allocation = /failed to allocate|not in the valid range/;

describe('validateCreate', () => {
  for (const { method, path, body, status, answer } of errors) {
    if (method !== 'POST' || status !== 422 || allocation.test(answer.message)) continue;
    it(`answers as recorded: ${answer.message.slice(0, 110)}`, () => {
      const resource = resourceOf(path);
      const object = created(resource, body);
      const { group, kind } = resource;
      const found = invalidObject(kind, group, object.metadata.name, validateCreate(resource, object));
      assert.equal(found.message, answer.message);
      assert.deepEqual(found.status.details, answer.details);
    });
  }

  for (const { name, path, answer } of defaults) {
    it(`finds nothing wrong with the recorded ${name}`, () => {
      const text = JSON.stringify(answer)
        .replaceAll('"<nodePort>"', '30001')
        .replaceAll('<ip>', '10.96.0.7')
        .replaceAll('-<rand>', '-x')
        .replaceAll('"<csr>"', JSON.stringify(Buffer.from('-----BEGIN CERTIFICATE REQUEST-----').toString('base64')))
        .replaceAll('<generated>', 'g');
      assert.deepEqual(validateCreate(resourceOf(path), JSON.parse(text) as KubeObject), []);
    });
  }

  const podCases: [string, Partial<PodSpec>, string][] = [
    [
      'a mount of no volume',
      { containers: [{ name: 'c', image: 'i', volumeMounts: [{ name: 'v', mountPath: '/v' }] }] },
      'spec.containers[0].volumeMounts[0].name: Not found: "v"',
    ],
    [
      'two containers of one name',
      {
        containers: [
          { name: 'c', image: 'i' },
          { name: 'c', image: 'i' },
        ],
      },
      'spec.containers[1].name: Duplicate value: "c"',
    ],
    [
      'a probe without handler',
      { containers: [{ name: 'c', image: 'i', livenessProbe: {} }] },
      'spec.containers[0].livenessProbe: Required value: must specify a handler type',
    ],
    [
      'a liveness probe that wants two successes',
      { containers: [{ name: 'c', image: 'i', livenessProbe: { successThreshold: 2, tcpSocket: { port: 1 } } }] },
      'spec.containers[0].livenessProbe.successThreshold: Invalid value: 2: must be 1',
    ],
    [
      'a port out of range',
      { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 70000 }] }] },
      'spec.containers[0].ports[0].containerPort: Invalid value: 70000: must be between 1 and 65535, inclusive',
    ],
    ['a container without image', { containers: [{ name: 'c' }] }, 'spec.containers[0].image: Required value'],
    [
      'an unknown pull policy',
      { containers: [{ name: 'c', image: 'i', imagePullPolicy: 'Sometimes' }] },
      'spec.containers[0].imagePullPolicy: Unsupported value: "Sometimes": supported values: "Always", "IfNotPresent", "Never"',
    ],
    [
      'an init container with a probe',
      { initContainers: [{ name: 'a', image: 'i', livenessProbe: { tcpSocket: { port: 1 } } }] },
      'spec.initContainers[0].livenessProbe: Forbidden: may not be set for init containers without restartPolicy=Always',
    ],
    [
      'a volume of two kinds',
      { volumes: [{ name: 'v', emptyDir: {}, configMap: { name: 'c' } }] },
      'spec.volumes[0].configMap: Forbidden: may not specify more than 1 volume type',
    ],
    [
      'a path that climbs out',
      { volumes: [{ name: 'v', configMap: { name: 'c', items: [{ key: 'k', path: '../k' }] } }] },
      'spec.volumes[0].configMap.items[0].path: Invalid value: "../k": must not contain \'..\'',
    ],
    [
      'ephemeral containers',
      { ephemeralContainers: [{ name: 'e', image: 'i' }] },
      'spec.ephemeralContainers: Forbidden: cannot be set on create',
    ],
    [
      'an affinity without terms',
      { affinity: { nodeAffinity: { requiredDuringSchedulingIgnoredDuringExecution: { nodeSelectorTerms: [] } } } },
      'spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms: Required value: must have at least one node selector term',
    ],
  ];
  for (const [title, spec, text] of podCases) {
    it(`refuses ${title}`, () => {
      const pod = created(resources.pods, {
        metadata: { name: 'p' },
        spec: { containers: [{ name: 'c', image: 'i' }], ...spec },
      });
      const found = validateCreate(resources.pods, pod);
      assert.deepEqual(
        found.map(({ field, message }) => `${field}: ${message}`),
        [text],
      );
    });
  }

  it('takes an update of an image and refuses one of the command', () => {
    const previous = created<Pod>(resources.pods, {
      metadata: { name: 'p' },
      spec: { containers: [{ name: 'c', image: 'i' }] },
    });
    const newImage = structuredClone(previous);
    newImage.spec.containers[0]!.image = 'j';
    assert.deepEqual(validateUpdate(resources.pods, newImage, previous, ''), []);
    const newCommand = structuredClone(previous);
    newCommand.spec.containers[0]!.command = ['x'];
    const [error] = validateUpdate(resources.pods, newCommand, previous, '');
    assert.equal(error?.field, 'spec');
    assert.match(error?.message ?? '', /^Forbidden: pod updates may not change fields other than/);
  });

  it('keeps the pod ranges of a node, by either field', () => {
    const previous = created<Node>(resources.nodes, {
      metadata: { name: 'n' },
      spec: { podCIDR: '10.244.0.0/24', podCIDRs: ['10.244.0.0/24'] },
    });
    const moved = structuredClone(previous);
    moved.spec.podCIDR = '1.2.3.0/24';
    const [error] = validateUpdate(resources.nodes, moved, previous, '');
    assert.equal(error?.message, 'Forbidden: node updates may not change podCIDR except from "" to valid');
    assert.deepEqual(validateUpdate(resources.nodes, structuredClone(previous), previous, ''), []);
  });

  it('answers a changed deployment selector with both errors in order', () => {
    const previous = created<Deployment>(resources.deployments, {
      metadata: { name: 'x' },
      spec: {
        selector: { matchLabels: { a: 'b' } },
        template: { metadata: { labels: { a: 'b' } }, spec: { containers: [{ name: 'c', image: 'i' }] } },
      },
    });
    const changed = structuredClone(previous);
    changed.spec.selector.matchLabels = { a: 'b', q: 'q' };
    const recorded = errors.find(({ method, path }) => method === 'PATCH' && path.endsWith('/deployments/x'))!;
    const found = invalidObject(
      'Deployment',
      'apps',
      'x',
      validateUpdate(resources.deployments, changed, previous, ''),
    );
    assert.equal(found.message, recorded.answer.message);
  });

  it('answers a changed cluster IP as recorded', () => {
    const recorded = errors.find(({ method, path }) => method === 'PATCH' && path.endsWith('/services/s-clusterip'))!;
    const previous = created<Service>(resources.services, {
      metadata: { name: 's-clusterip' },
      spec: { clusterIP: '10.96.0.7', clusterIPs: ['10.96.0.7'], ports: [{ port: 80 }] },
    });
    const changed = structuredClone(previous);
    changed.spec.clusterIP = '10.96.0.99';
    changed.spec.clusterIPs = ['10.96.0.99'];
    const found = invalidObject(
      'Service',
      '',
      's-clusterip',
      validateUpdate(resources.services, changed, previous, ''),
    );
    assert.equal(found.message, recorded.answer.message);
  });
});

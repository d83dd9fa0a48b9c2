// What a pod reads about itself from files: names, labels, annotations, its resources.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Container, DownwardAPIVolumeFile, Volume } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

type Form = 'Downward API volume' | 'Projected downwardAPI';
const forms: Record<Form, (items: DownwardAPIVolumeFile[], defaultMode?: number) => Omit<Volume, 'name'>> = {
  'Downward API volume': (items, defaultMode) => ({
    downwardAPI: { items, ...(defaultMode === undefined ? {} : { defaultMode }) },
  }),
  'Projected downwardAPI': (items, defaultMode) => ({
    projected: { sources: [{ downwardAPI: { items } }], ...(defaultMode === undefined ? {} : { defaultMode }) },
  }),
};

const podName: DownwardAPIVolumeFile = { path: 'podname', fieldRef: { fieldPath: 'metadata.name' } };
const resources = { limits: { cpu: '1250m', memory: '64Mi' }, requests: { cpu: '250m', memory: '32Mi' } };
const resource = (name: string, divisor?: string): DownwardAPIVolumeFile => ({
  path: 'value',
  resourceFieldRef: { containerName: 'main', resource: name, ...(divisor === undefined ? {} : { divisor }) },
});

interface Case {
  /** By form: the behaviours proved. */
  names: Record<Form, string>;
  item: DownwardAPIVolumeFile;
  defaultMode?: number;
  read: string;
  container?: Partial<Container>;
  expected(node: NodeCluster): Promise<string>;
}

const cases: Case[] = [
  {
    names: {
      'Downward API volume': 'Downward API volume should provide podname only',
      'Projected downwardAPI': 'Projected downwardAPI should provide podname only',
    },
    item: podName,
    read: 'cat /etc/podinfo/podname',
    expected: async () => 'about-itself',
  },
  {
    names: {
      'Downward API volume': 'Downward API volume should set DefaultMode on files',
      'Projected downwardAPI': 'Projected downwardAPI should set DefaultMode on files',
    },
    item: podName,
    defaultMode: 0o400,
    read: 'stat -L -c %a /etc/podinfo/podname',
    expected: async () => '400\n',
  },
  {
    names: {
      'Downward API volume': 'Downward API volume should set mode on item file',
      'Projected downwardAPI': 'Projected downwardAPI should set mode on item file',
    },
    item: { ...podName, mode: 0o400 },
    read: 'stat -L -c %a /etc/podinfo/podname',
    expected: async () => '400\n',
  },
  {
    names: {
      'Downward API volume': "Downward API volume should provide container's cpu limit",
      'Projected downwardAPI': "Projected downwardAPI should provide container's cpu limit",
    },
    item: resource('limits.cpu'),
    container: { resources },
    read: 'cat /etc/podinfo/value',
    expected: async () => '2',
  },
  {
    names: {
      'Downward API volume': "Downward API volume should provide container's cpu request",
      'Projected downwardAPI': "Projected downwardAPI should provide container's cpu request",
    },
    item: resource('requests.cpu', '1m'),
    container: { resources },
    read: 'cat /etc/podinfo/value',
    expected: async () => '250',
  },
  {
    names: {
      'Downward API volume': "Downward API volume should provide container's memory limit",
      'Projected downwardAPI': "Projected downwardAPI should provide container's memory limit",
    },
    item: resource('limits.memory'),
    container: { resources },
    read: 'cat /etc/podinfo/value',
    expected: async () => String(64 * 1024 * 1024),
  },
  {
    names: {
      'Downward API volume': "Downward API volume should provide container's memory request",
      'Projected downwardAPI': "Projected downwardAPI should provide container's memory request",
    },
    item: resource('requests.memory', '1Mi'),
    container: { resources },
    read: 'cat /etc/podinfo/value',
    expected: async () => '32',
  },
  {
    names: {
      'Downward API volume':
        'Downward API volume should provide node allocatable (cpu) as default cpu limit if the limit is not set',
      'Projected downwardAPI':
        'Projected downwardAPI should provide node allocatable (cpu) as default cpu limit if the limit is not set',
    },
    item: resource('limits.cpu'),
    read: 'cat /etc/podinfo/value',
    expected: async (node) => (await node.node()).status?.allocatable?.['cpu'] ?? '',
  },
  {
    names: {
      'Downward API volume':
        'Downward API volume should provide node allocatable (memory) as default memory limit if the limit is not set',
      'Projected downwardAPI':
        'Projected downwardAPI should provide node allocatable (memory) as default memory limit if the limit is not set',
    },
    item: resource('limits.memory'),
    read: 'cat /etc/podinfo/value',
    expected: async (node) => String(quantityValue((await node.node()).status?.allocatable?.['memory'])),
  },
];

const updates: { names: Record<Form, string>; field: 'labels' | 'annotations' }[] = [
  {
    names: {
      'Downward API volume': 'Downward API volume should update labels on modification',
      'Projected downwardAPI': 'Projected downwardAPI should update labels on modification',
    },
    field: 'labels',
  },
  {
    names: {
      'Downward API volume': 'Downward API volume should update annotations on modification',
      'Projected downwardAPI': 'Projected downwardAPI should update annotations on modification',
    },
    field: 'annotations',
  },
];

const volumeMounts = [{ name: 'podinfo', mountPath: '/etc/podinfo' }];

describe('files about the pod itself', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  for (const { names, item, defaultMode, read, container, expected } of cases) {
    for (const [form, name] of Object.entries(names)) {
      it(name, async () => {
        const text = await node.output(await node.namespace(), {
          name: 'about-itself',
          spec: {
            volumes: [{ name: 'podinfo', ...forms[form as Form]([item], defaultMode) }],
            containers: [script(read, { ...container, volumeMounts })],
          },
        });
        assert.equal(text, await expected(node));
      });
    }
  }

  for (const { names, field } of updates) {
    for (const [form, name] of Object.entries(names)) {
      it(name, async () => {
        const namespace = await node.namespace();
        const item = { path: field, fieldRef: { fieldPath: `metadata.${field}` } };
        const pod = 'changing';
        await node.createPod(namespace, {
          name: pod,
          metadata: { [field]: { key1: 'value1', key2: 'value2' } },
          spec: {
            restartPolicy: 'Never',
            volumes: [{ name: 'podinfo', ...forms[form as Form]([item]) }],
            containers: [
              script(
                `cat /etc/podinfo/${field}; echo; until grep -q 'key3="value3"' /etc/podinfo/${field}; do sleep 0.2; done; cat /etc/podinfo/${field}`,
                { volumeMounts },
              ),
            ],
          },
        });
        await eventually('the first ones', async () =>
          /key1="value1"\nkey2="value2"/.test(await node.logs(namespace, pod)),
        );
        const change = { metadata: { [field]: { key3: 'value3' } } };
        await node.client.patch(pods, { namespace, name: pod }, 'merge', change);
        assert.equal((await node.waitEnded(namespace, pod)).status?.phase, 'Succeeded');
        assert.match(await node.logs(namespace, pod), /key1="value1"\nkey2="value2"\nkey3="value3"/);
      });
    }
  }
});

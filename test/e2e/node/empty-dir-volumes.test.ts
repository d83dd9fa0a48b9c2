// Empty directories: who may do what in them, on disk and in memory, and sharing them between containers.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { configmaps } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

type Medium = '' | 'Memory';
type User = 0 | 1001;

/** Name of the behaviour, medium, user, mode of a file made in the volume. */
const cases: [string, Medium, User, string][] = [
  ['EmptyDir volumes should support (root,0644,default)', '', 0, '0644'],
  ['EmptyDir volumes should support (root,0666,default)', '', 0, '0666'],
  ['EmptyDir volumes should support (root,0777,default)', '', 0, '0777'],
  ['EmptyDir volumes should support (non-root,0644,default)', '', 1001, '0644'],
  ['EmptyDir volumes should support (non-root,0666,default)', '', 1001, '0666'],
  ['EmptyDir volumes should support (non-root,0777,default)', '', 1001, '0777'],
  ['EmptyDir volumes should support (root,0644,tmpfs)', 'Memory', 0, '0644'],
  ['EmptyDir volumes should support (root,0666,tmpfs)', 'Memory', 0, '0666'],
  ['EmptyDir volumes should support (root,0777,tmpfs)', 'Memory', 0, '0777'],
  ['EmptyDir volumes should support (non-root,0644,tmpfs)', 'Memory', 1001, '0644'],
  ['EmptyDir volumes should support (non-root,0666,tmpfs)', 'Memory', 1001, '0666'],
  ['EmptyDir volumes should support (non-root,0777,tmpfs)', 'Memory', 1001, '0777'],
];

const fileSystem = `awk '$2 == "/v" { print ($3 == "tmpfs") ? "tmpfs" : "disk" }' /proc/mounts`;
const volumeMounts = [{ name: 'v', mountPath: '/v' }];

describe('empty directories', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  const inVolume = async (medium: Medium, user: User, text: string) =>
    node.output(await node.namespace(), {
      spec: {
        securityContext: { runAsUser: user },
        volumes: [{ name: 'v', emptyDir: medium === '' ? {} : { medium } }],
        containers: [script(text, { volumeMounts })],
      },
    });
  const kindOf = (medium: Medium) => (medium === '' ? 'disk' : 'tmpfs');

  for (const [name, medium, user, mode] of cases) {
    it(name, async () => {
      const text = `${fileSystem}; echo mount-tester new file > /v/f && chmod ${mode} /v/f && stat -c %a:%u /v/f && cat /v/f`;
      const expected = `${kindOf(medium)}\n${mode.slice(1)}:${user}\nmount-tester new file\n`;
      assert.equal(await inVolume(medium, user, text), expected);
    });
  }

  for (const [name, medium] of [
    ['EmptyDir volumes volume on default medium should have the correct mode', ''],
    ['EmptyDir volumes volume on tmpfs should have the correct mode', 'Memory'],
  ] as const) {
    it(name, async () => {
      assert.equal(await inVolume(medium, 0, `${fileSystem}; stat -c %a /v`), `${kindOf(medium)}\n777\n`);
    });
  }

  it('EmptyDir volumes pod should support shared volumes between containers', async () => {
    const namespace = await node.namespace();
    const { metadata } = await node.createPod(namespace, {
      spec: {
        restartPolicy: 'Never',
        volumes: [{ name: 'v', emptyDir: {} }],
        containers: [
          script('until [ -e /v/shared ]; do sleep 0.1; done; cat /v/shared; sleep 600', { volumeMounts }),
          script('echo Hello from the busy-box sub-container > /v/part && mv /v/part /v/shared', {
            name: 'writer',
            volumeMounts,
          }),
        ],
      },
    });
    const name = metadata.name ?? '';
    const seen = 'Hello from the busy-box sub-container\n';
    await node.waitForPod(namespace, name, 'both containers run or ran', ({ status }) => status?.phase === 'Running');
    await eventually(
      'the file in the other container',
      async () => (await node.logs(namespace, name, 'container=main')) === seen,
    );
    assert.equal(await node.shell(namespace, name, 'cat /v/shared', 'main'), seen);
  });

  it('EmptyDir wrapper volumes should not cause race condition when used for configmaps', async () => {
    const namespace = await node.namespace();
    const names = Array.from({ length: 50 }, (_, index) => `racey-${index}`);
    await Promise.all(
      names.map((name) => node.client.create(configmaps, namespace, { metadata: { name }, data: { 'data-1': name } })),
    );
    const pods = await Promise.all(
      Array.from({ length: 5 }, () =>
        node.createPod(namespace, {
          spec: {
            volumes: names.map((name) => ({
              name,
              configMap: { name, items: [{ key: 'data-1', path: 'data-1' }] },
            })),
            containers: [
              script('sleep 600', { volumeMounts: names.map((name) => ({ name, mountPath: `/etc/${name}` })) }),
            ],
          },
        }),
      ),
    );
    for (const { metadata } of pods) await node.waitReady(namespace, metadata.name ?? '');
    const [first] = pods;
    const all = await node.shell(namespace, first?.metadata.name ?? '', 'cat /etc/racey-*/data-1 | wc -c');
    assert.equal(Number(all), names.join('').length);
  });
});

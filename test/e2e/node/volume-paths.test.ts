// Parts of volumes: sub paths, fixed and made from variables, within volumes of every kind.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Volume } from '#kube/api/generated/core-v1.ts';
import { configmaps, pods, secrets } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

const podName = { name: 'POD_NAME', valueFrom: { fieldRef: { fieldPath: 'metadata.name' } } };

describe('parts of volumes', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  const atomic: [name: string, volume: Omit<Volume, 'name'>, subPath: string, mountPath: string, content: string][] = [
    [
      'Subpath Atomic writer volumes should support subpaths with configmap pod',
      { configMap: { name: 'object', items: [{ key: 'key', path: 'sub/file' }] } },
      'sub',
      '/mounted',
      'config value',
    ],
    [
      'Subpath Atomic writer volumes should support subpaths with configmap pod with mountPath of existing file',
      { configMap: { name: 'object', items: [{ key: 'key', path: 'file' }] } },
      'file',
      '/etc/nsswitch.conf',
      'config value',
    ],
    [
      'Subpath Atomic writer volumes should support subpaths with secret pod',
      { secret: { secretName: 'object', items: [{ key: 'key', path: 'sub/file' }] } },
      'sub',
      '/mounted',
      'secret value',
    ],
    [
      'Subpath Atomic writer volumes should support subpaths with downward pod',
      { downwardAPI: { items: [{ path: 'sub/file', fieldRef: { fieldPath: 'metadata.name' } }] } },
      'sub',
      '/mounted',
      'reader',
    ],
    [
      'Subpath Atomic writer volumes should support subpaths with projected pod',
      { projected: { sources: [{ configMap: { name: 'object', items: [{ key: 'key', path: 'sub/file' }] } }] } },
      'sub',
      '/mounted',
      'config value',
    ],
  ];
  for (const [name, volume, subPath, mountPath, content] of atomic) {
    it(name, async () => {
      const namespace = await node.namespace();
      await node.client.create(configmaps, namespace, { metadata: { name: 'object' }, data: { key: 'config value' } });
      await node.client.create(secrets, namespace, {
        metadata: { name: 'object' },
        stringData: { key: 'secret value' },
      });
      const file = subPath === 'sub' ? `${mountPath}/file` : mountPath;
      const volumeMounts = [
        { name: 'v', mountPath, subPath },
        { name: 'done', mountPath: '/done' },
      ];
      // The content must stay readable for a while and over a restart of the container.
      const read = `for i in 1 2 3 4 5; do [ "$(cat ${file})" = "${content}" ] || exit 3; sleep 0.1; done; [ -e /done/once ] && exit 0; touch /done/once; exit 1`;
      await node.createPod(namespace, {
        name: 'reader',
        spec: {
          restartPolicy: 'OnFailure',
          volumes: [
            { name: 'v', ...volume },
            { name: 'done', emptyDir: {} },
          ],
          containers: [script(read, { volumeMounts })],
        },
      });
      const ended = await node.waitEnded(namespace, 'reader');
      assert.equal(ended.status?.phase, 'Succeeded', JSON.stringify(containerStatus(ended)));
      assert.equal(containerStatus(ended)?.restartCount, 1);
    });
  }

  it('Variable Expansion should allow substituting values in a volume subpath', async () => {
    const text = await node.output(await node.namespace(), {
      name: 'expanding',
      spec: {
        volumes: [{ name: 'work', emptyDir: {} }],
        containers: [
          script('test -d /testcontainer/expanding && touch /logscontainer/x && ls /testcontainer/expanding', {
            env: [podName],
            volumeMounts: [
              { name: 'work', mountPath: '/logscontainer', subPathExpr: '$(POD_NAME)' },
              { name: 'work', mountPath: '/testcontainer' },
            ],
          }),
        ],
      },
    });
    assert.equal(text, 'x\n');
  });

  for (const [name, value] of [
    ['Variable Expansion should fail substituting values in a volume subpath with backticks', '..'],
    ['Variable Expansion should fail substituting values in a volume subpath with absolute path', '/tmp'],
  ] as const) {
    it(name, async () => {
      const namespace = await node.namespace();
      const backticks = name.endsWith('backticks');
      await node.createPod(namespace, {
        name: 'refused',
        spec: {
          restartPolicy: 'Never',
          volumes: [{ name: 'work', emptyDir: {} }],
          containers: [
            script('sleep 600', {
              env: [{ name: 'POD_NAME', value: backticks ? '`pwd`/..' : value }],
              volumeMounts: [{ name: 'work', mountPath: '/logscontainer', subPathExpr: '$(POD_NAME)' }],
            }),
          ],
        },
      });
      const refused = await node.waitForPod(
        namespace,
        'refused',
        'the container is refused',
        (pod) => containerStatus(pod)?.state?.waiting?.reason === 'CreateContainerConfigError',
      );
      assert.equal(refused.status?.phase, 'Pending');
      await node.client.delete(pods, { namespace, name: 'refused' });
      await node.waitGone(namespace, 'refused');
    });
  }

  const subPathPod = (annotations: Record<string, string>) => ({
    name: 'annotated',
    metadata: { annotations },
    spec: {
      volumes: [{ name: 'work', emptyDir: {} }],
      containers: [
        script('sleep 600', {
          env: [
            { name: 'POD_NAME', value: 'foo' },
            { name: 'ANNOTATION', valueFrom: { fieldRef: { fieldPath: "metadata.annotations['mysubpath']" } } },
          ],
          volumeMounts: [
            { name: 'work', mountPath: '/subpath_mount', subPathExpr: '$(ANNOTATION)/$(POD_NAME)' },
            { name: 'work', mountPath: '/volume_mount' },
          ],
        }),
      ],
    },
  });

  it('Variable Expansion should verify that a failing subpath expansion can be modified during the lifecycle of a container', async () => {
    const namespace = await node.namespace();
    // Without the annotation the path begins with a slash: the container waits.
    await node.createPod(namespace, subPathPod({ notmysubpath: 'mypath' }));
    await node.waitForPod(
      namespace,
      'annotated',
      'the container is refused',
      (seen) => containerStatus(seen)?.state?.waiting?.reason === 'CreateContainerConfigError',
    );
    const change = { metadata: { annotations: { mysubpath: 'mypath' } } };
    await node.client.patch(pods, { namespace, name: 'annotated' }, 'merge', change);
    await node.waitReady(namespace, 'annotated', 90_000);
    assert.equal(await node.shell(namespace, 'annotated', 'ls /volume_mount/mypath'), 'foo\n');
  });

  it('Variable Expansion should succeed in writing subpaths in container', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, subPathPod({ mysubpath: 'mypath' }));
    await node.waitReady(namespace, 'annotated');
    await node.shell(namespace, 'annotated', 'touch /volume_mount/mypath/foo/test.log');
    await node.shell(namespace, 'annotated', 'test -f /subpath_mount/test.log');
    const change = { metadata: { annotations: { mysubpath: 'mynewpath' } } };
    await node.client.patch(pods, { namespace, name: 'annotated' }, 'merge', change);
    await eventually('the annotation', async () => {
      const seen = await node.pod(namespace, 'annotated');
      return seen.metadata.annotations?.['mysubpath'] === 'mynewpath';
    });
    // A running container keeps the path it was started with.
    await node.shell(namespace, 'annotated', 'test -f /subpath_mount/test.log');
    assert.equal(containerStatus(await node.pod(namespace, 'annotated'))?.restartCount, 0);
    await node.client.delete(pods, { namespace, name: 'annotated' });
    await node.waitGone(namespace, 'annotated');
  });
});

// Volumes that are the files of an image, from a registry inside the cluster's network namespace.
import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

describe('image volumes', { skip: clustersUnavailable() ?? false, concurrency: 4 }, () => {
  let node: NodeCluster;
  let registry: ChildProcess | undefined;
  let host = '';

  before(async () => {
    node = await startNodeCluster();
    const program = join(import.meta.dirname, '../../support/registry-program.ts');
    registry = spawn('nsenter', [`--net=${node.cluster.namespace.path}`, process.execPath, program], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    assert.ok(registry.stdout !== null);
    const [line] = (await once(registry.stdout, 'data')) as [Buffer];
    host = line.toString().trim();
  });
  after(async () => {
    if (registry !== undefined && registry.exitCode === null) {
      registry.stdin?.end();
      await once(registry, 'exit');
    }
    await node?.[Symbol.asyncDispose]();
  });

  const withImage = (image: { reference: string; pullPolicy: string }, text: string, subPath?: string) => ({
    volumes: [{ name: 'files', image }],
    containers: [
      script(text, {
        volumeMounts: [{ name: 'files', mountPath: '/files', ...(subPath === undefined ? {} : { subPath }) }],
      }),
    ],
  });

  it('ImageVolume should succeed with pod and pull policy of Always', async () => {
    const namespace = await node.namespace();
    const image = { reference: `${host}/artifacts/files:1`, pullPolicy: 'Always' };
    const text = 'set -e; test -x /files/bin/busybox; ! touch /files/new 2>/dev/null; ls /files/bin';
    assert.equal(await node.output(namespace, { name: 'mounting', spec: withImage(image, text) }), 'busybox\n');
    const events = await node.events(namespace, 'mounting');
    assert.ok(events.some(({ reason, message }) => reason === 'Pulled' && message?.includes(`"${image.reference}"`)));
    const status = containerStatus(await node.pod(namespace, 'mounting'));
    const mount = status?.volumeMounts?.find(({ name }) => name === 'files');
    assert.equal(mount?.mountPath, '/files');
    const part = { name: 'part', spec: withImage(image, 'ls /files', 'bin') };
    assert.equal(await node.output(namespace, part), 'busybox\n');
  });

  it('says why a pod waits whose image is not there', async () => {
    const namespace = await node.namespace();
    const image = { reference: 'localhost/berth-test/absent:1', pullPolicy: 'Never' };
    await node.createPod(namespace, { name: 'waiting', spec: withImage(image, 'exec sleep 600') });
    const pod = await node.waitForPod(namespace, 'waiting', 'it waits for the image', (seen) => {
      return containerStatus(seen)?.state?.waiting?.reason === 'ErrImageNeverPull';
    });
    assert.equal(pod.status?.phase, 'Pending');
  });
});

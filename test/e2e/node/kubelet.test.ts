// What every container finds and leaves: logs, hosts file, root file system, user, privileges, kernel settings.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import type { Pod, SecurityContext } from '#kube/api/generated/core-v1.ts';
import { pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { containerStatus, type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';

describe('a container under the agent', { skip: clustersUnavailable() ?? false, concurrency: 8 }, () => {
  let node: NodeCluster;
  before(async () => {
    node = await startNodeCluster();
  });
  after(() => node?.[Symbol.asyncDispose]());

  it('Kubelet when scheduling a busybox command in a pod should print the output to logs', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, {
      name: 'printing',
      spec: { containers: [script("echo 'Hello World'; exec sleep 600")] },
    });
    await eventually('the line', async () => (await node.logs(namespace, 'printing')) === 'Hello World\n');
  });

  it('Kubelet when scheduling a busybox command that always fails in a pod should have an terminated reason', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'failing', spec: { containers: [script('exit 1')] } });
    const ended = (pod: Pod) => {
      const status = containerStatus(pod);
      return status?.state?.terminated ?? status?.lastState?.terminated;
    };
    const pod = await node.waitForPod(namespace, 'failing', 'an end', (seen) => ended(seen) !== undefined);
    assert.equal(ended(pod)?.reason, 'Error');
    assert.equal(ended(pod)?.exitCode, 1);
  });

  it('Kubelet when scheduling a busybox command that always fails in a pod should be possible to delete', async () => {
    const namespace = await node.namespace();
    await node.createPod(namespace, { name: 'failing', spec: { containers: [script('exit 1')] } });
    await node.waitForPod(namespace, 'failing', 'a restart', (pod) => (containerStatus(pod)?.restartCount ?? 0) > 0);
    await node.client.delete(pods, { namespace, name: 'failing' });
    await node.waitGone(namespace, 'failing');
  });

  it('Kubelet when scheduling a read only busybox container should not write to root filesystem', async () => {
    const text = await node.output(await node.namespace(), {
      spec: {
        containers: [
          script('echo test > /file; cat /file 2>&1; true', { securityContext: { readOnlyRootFilesystem: true } }),
        ],
      },
    });
    assert.match(text, /can't create \/file: Read-only file system/);
    assert.doesNotMatch(text, /^test$/m);
  });

  it('Kubelet when scheduling an agnhost Pod with hostAliases should write entries to /etc/hosts', async () => {
    const text = await node.output(await node.namespace(), {
      spec: {
        hostAliases: [{ ip: '123.45.67.89', hostnames: ['foo', 'bar'] }],
        containers: [script('cat /etc/hosts')],
      },
    });
    assert.match(text, /^# Kubernetes-managed hosts file\.$/m);
    assert.match(text, /^# Entries added by HostAliases\.$/m);
    assert.match(text, /^123\.45\.67\.89\tfoo\tbar$/m);
  });

  it('KubeletManagedEtcHosts should test kubelet managed /etc/hosts file', async () => {
    const namespace = await node.namespace();
    const volumes = [{ name: 'own', hostPath: { path: '/etc/hosts', type: 'File' } }];
    const mountOwn = { volumeMounts: [{ name: 'own', mountPath: '/etc/hosts' }] };
    const containers = (name: string) => [
      script('exec sleep 600', { name }),
      script('exec sleep 600', { name: `${name}-second` }),
    ];
    await node.createPod(namespace, {
      name: 'pod-network',
      spec: {
        volumes,
        containers: [...containers('plain'), script('exec sleep 600', { name: 'mounting', ...mountOwn })],
      },
    });
    await node.createPod(namespace, {
      name: 'host-network',
      spec: { hostNetwork: true, containers: containers('plain') },
    });
    await node.waitReady(namespace, 'pod-network');
    await node.waitReady(namespace, 'host-network');
    const hosts = (pod: string, container: string) => node.shell(namespace, pod, 'cat /etc/hosts', container);
    const managed = /^# Kubernetes-managed hosts file/;
    assert.match(await hosts('pod-network', 'plain'), managed);
    assert.match(await hosts('pod-network', 'plain-second'), managed);
    assert.doesNotMatch(await hosts('pod-network', 'mounting'), managed);
    const ofHost = /^# Kubernetes-managed hosts file \(host network\)/;
    assert.match(await hosts('host-network', 'plain'), ofHost);
    assert.match(await hosts('host-network', 'plain-second'), ofHost);
  });

  const secured = async (text: string, securityContext: SecurityContext, ofPod = {}) =>
    node.output(await node.namespace(), {
      spec: { securityContext: ofPod, containers: [script(text, { securityContext })] },
    });

  it('Security Context When creating a container with runAsUser should run the container with uid 65534', async () => {
    assert.equal(await secured('id -u', { runAsUser: 65534 }), '65534\n');
  });
  it('Security Context When creating a pod with privileged should run the container as unprivileged when false', async () => {
    const text = await secured('ip link add dummy0 type dummy 2>&1 || true', { privileged: false });
    assert.match(text, /Operation not permitted/);
  });
  it('Security Context When creating a pod with readOnlyRootFilesystem should run the container with writable rootfs when readOnlyRootFilesystem=false', async () => {
    assert.equal(await secured('echo x > /checkfile && cat /checkfile', { readOnlyRootFilesystem: false }), 'x\n');
  });
  it('Security Context should support container.SecurityContext.RunAsUser And container.SecurityContext.RunAsGroup', async () => {
    assert.equal(await secured('id -u; id -g', { runAsUser: 1001, runAsGroup: 2002 }), '1001\n2002\n');
  });
  it('Security Context should support pod.Spec.SecurityContext.RunAsUser And pod.Spec.SecurityContext.RunAsGroup', async () => {
    assert.equal(await secured('id -u; id -g', {}, { runAsUser: 1001, runAsGroup: 2002 }), '1001\n2002\n');
  });
  it('Security Context when creating containers with AllowPrivilegeEscalation should not allow privilege escalation when false', async () => {
    // A program with the set-user-id bit, made on a disk that allows it, is run by an ordinary user.
    const namespace = await node.namespace();
    const volumeMounts = [{ name: 'v', mountPath: '/v' }];
    const run = (securityContext: SecurityContext) =>
      node.output(namespace, {
        spec: {
          volumes: [{ name: 'v', emptyDir: {} }],
          initContainers: [script('cp /bin/busybox /v/id && chmod 4755 /v/id', { name: 'prepare', volumeMounts })],
          containers: [
            script('/v/id -u; grep NoNewPrivs /proc/self/status', {
              volumeMounts,
              securityContext: { runAsUser: 1000, ...securityContext },
            }),
          ],
        },
      });
    assert.equal(await run({ allowPrivilegeEscalation: false }), '1000\nNoNewPrivs:\t1\n');
    assert.match(await run({}), /NoNewPrivs:\t0\n/);
  });

  it('Sysctls should support sysctls', async () => {
    const sysctls = [{ name: 'kernel.shm_rmid_forced', value: '1' }];
    assert.equal(await secured('cat /proc/sys/kernel/shm_rmid_forced', {}, { sysctls }), '1\n');
  });
  it('Sysctls should reject invalid sysctls', async () => {
    const names = ['foo-', 'kernel.shmmax', 'safe-and-unsafe', 'bar..'];
    const sysctls = names.map((name) => ({ name, value: '100000000' }));
    const namespace = await node.namespace();
    const create = node.createPod(namespace, {
      spec: { securityContext: { sysctls }, containers: [script('exit 0')] },
    });
    await assert.rejects(create, (error: Error & { code: string }) => {
      assert.equal(error.code, 'Invalid');
      assert.match(error.message, /sysctls\[0\]\.name: Invalid value: "foo-"/);
      assert.match(error.message, /sysctls\[3\]\.name: Invalid value: "bar\.\."/);
      assert.doesNotMatch(error.message, /shmmax|safe-and-unsafe"/);
      return true;
    });
  });
});

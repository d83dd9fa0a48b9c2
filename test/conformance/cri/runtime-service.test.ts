// One suite for every RuntimeService: containerd behind gRPC, and the fake that the pod tests rely on.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { isCriNotFound } from '../../../agent/cri/cri-error.ts';
import { openCriChannel } from '../../../agent/cri/grpc-channel.ts';
import { createGrpcImageService } from '../../../agent/cri/grpc-image-service.ts';
import { createGrpcRuntimeService } from '../../../agent/cri/grpc-runtime-service.ts';
import type { ImageService } from '../../../agent/cri/image-service.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { createRuntimeCache } from '../../../agent/runtime-cache/runtime-cache.ts';
import { busyboxImage } from '../../../packaging/images/build-images.ts';
import { createFakeRuntime } from '../../support/fake-runtime.ts';
import { containerdUnavailable, startTestContainerd } from '../../support/test-containerd.ts';

interface Implementation {
  name: string;
  unavailable: string | undefined;
  start(): Promise<{ runtime: RuntimeService; images: ImageService; close(): Promise<void> }>;
}

const fake: Implementation = {
  name: 'the fake runtime',
  unavailable: undefined,
  async start() {
    const made = createFakeRuntime({
      clock: systemClock,
      images: { [busyboxImage]: 'sha256:b' },
      pullError: (image) => `no such image ${image}`,
      run: (config) => {
        const text = (config.command ?? []).join(' ');
        if (text.includes('exit 3')) return { exit: { code: 3, reason: 'Error' }, terminationMessage: 'last words' };
        return text.includes('/no/such') ? { startError: 'no such file' } : {};
      },
      exec: (command) => (command.includes('false') ? 1 : 0),
    });
    return { runtime: made.runtime, images: made.images, close: async () => undefined };
  },
};

const containerd: Implementation = {
  name: 'containerd',
  unavailable: containerdUnavailable(),
  async start() {
    const daemon = await startTestContainerd();
    const channel = openCriChannel(daemon.endpoint);
    return {
      runtime: createGrpcRuntimeService(channel, 60_000),
      images: createGrpcImageService(channel, 60_000),
      async close() {
        channel.close();
        await daemon[Symbol.asyncDispose]();
      },
    };
  },
};

for (const implementation of [fake, containerd]) {
  describe(`RuntimeService of ${implementation.name}`, { skip: implementation.unavailable ?? false }, () => {
    const labels = {
      'io.kubernetes.pod.uid': 'uid-1',
      'io.kubernetes.pod.name': 'p',
      'io.kubernetes.pod.namespace': 'n',
    };
    let started: Awaited<ReturnType<Implementation['start']>>;
    let logDirectory = '';
    let sandboxId = '';
    const sandboxConfig = () => ({
      metadata: { name: 'p', uid: 'uid-1', namespace: 'n' },
      logDirectory,
      labels,
      linux: {
        securityContext: { namespaceOptions: { network: 'NODE' as const, pid: 'CONTAINER' as const } },
      },
    });

    async function startContainer(name: string, command: string[]): Promise<string> {
      const { runtime, images } = started;
      const image = await images.imageStatus({ image: busyboxImage });
      await mkdir(join(logDirectory, name), { recursive: true });
      const log = join(logDirectory, `${name}-termination`);
      await writeFile(log, '');
      const config = {
        metadata: { name },
        image: { image: image?.id ?? '', userSpecifiedImage: busyboxImage },
        command,
        mounts: [{ containerPath: '/dev/termination-log', hostPath: log }],
        labels: { ...labels, 'io.kubernetes.container.name': name },
        annotations: {
          'io.kubernetes.container.terminationMessagePath': '/dev/termination-log',
          'io.kubernetes.container.restartCount': '4',
        },
        logPath: `${name}/0.log`,
        linux: { securityContext: { namespaceOptions: { network: 'NODE' as const, pid: 'CONTAINER' as const } } },
      };
      const id = await runtime.createContainer(sandboxId, config, sandboxConfig());
      await runtime.startContainer(id);
      return id;
    }

    async function observe(name: string, state: string) {
      const cache = createRuntimeCache({
        runtime: started.runtime,
        clock: systemClock,
        logger: pino({ level: 'silent' }),
        relistPeriodMs: 1000,
      });
      for (let turn = 0; turn < 100; turn += 1) {
        const pod = await cache.refresh('uid-1');
        const found = pod?.containers.find((item) => item.name === name);
        if (found?.state === state) return found;
        await systemClock.sleep(50);
      }
      throw new Error(`container ${name} did not become ${state}`);
    }

    before(async () => {
      logDirectory = mkdtempSync(join(tmpdir(), 'agent-cri-'));
      started = await implementation.start();
      sandboxId = await started.runtime.runPodSandbox(sandboxConfig(), '');
    });
    after(async () => {
      await started.close();
      rmSync(logDirectory, { recursive: true, force: true });
    });

    it('lists the sandbox by its labels', async () => {
      const found = await started.runtime.listPodSandbox({ labelSelector: { 'io.kubernetes.pod.uid': 'uid-1' } });
      assert.deepEqual(
        found.map(({ id, state }) => [id, state]),
        [[sandboxId, 'SANDBOX_READY']],
      );
      assert.deepEqual(
        await started.runtime.listPodSandbox({ labelSelector: { 'io.kubernetes.pod.uid': 'other' } }),
        [],
      );
    });

    it('runs a container, executes in it, and stops it with the code of the kill', async () => {
      const id = await startContainer('runs', ['sh', '-c', 'sleep 1000']);
      assert.equal((await observe('runs', 'running')).id, id);
      assert.equal((await started.runtime.execSync(id, ['true'], 5)).exitCode, 0);
      assert.equal((await started.runtime.execSync(id, ['false'], 5)).exitCode, 1);
      await started.runtime.stopContainer(id, 1);
      assert.equal((await observe('runs', 'exited')).exitCode, 137);
      await started.runtime.removeContainer(id);
      await assert.rejects(started.runtime.containerStatus(id), isCriNotFound);
    });

    it('tells how a container ended, its last words, and what its annotations say', async () => {
      const id = await startContainer('ends', ['sh', '-c', 'echo -n last words > /dev/termination-log; exit 3']);
      const ended = await observe('ends', 'exited');
      assert.deepEqual([ended.exitCode, ended.reason, ended.message], [3, 'Error', 'last words']);
      assert.equal(ended.facts.restartCount, 4);
      await started.runtime.removeContainer(id);
    });

    it('refuses to start a command that is not there', async () => {
      await assert.rejects(startContainer('bad', ['/no/such']), { name: 'CriError' });
      const ended = await observe('bad', 'exited');
      assert.deepEqual([ended.exitCode, ended.reason], [128, 'StartError']);
      await started.runtime.removeContainer(ended.id);
    });

    it('knows nothing of images that are not on the node', async () => {
      assert.equal(await started.images.imageStatus({ image: 'localhost/absent:1' }), undefined);
    });

    it('stops and removes the sandbox, also a second time', async () => {
      await started.runtime.stopPodSandbox(sandboxId);
      await started.runtime.stopPodSandbox(sandboxId);
      await started.runtime.removePodSandbox(sandboxId);
      const again = started.runtime.removePodSandbox(sandboxId);
      await again.catch((error: unknown) => assert.ok(isCriNotFound(error), String(error)));
      assert.deepEqual(
        await started.runtime.listPodSandbox({ labelSelector: { 'io.kubernetes.pod.uid': 'uid-1' } }),
        [],
      );
    });

    if (implementation === containerd) {
      it('writes output to the log in CRI form', async () => {
        sandboxId = await started.runtime.runPodSandbox(sandboxConfig(), '');
        const id = await startContainer('says', ['sh', '-c', 'echo hello']);
        await observe('says', 'exited');
        assert.match(readFileSync(join(logDirectory, 'says/0.log'), 'utf8'), /^\S+Z stdout F hello\n$/);
        await started.runtime.removeContainer(id);
        await started.runtime.stopPodSandbox(sandboxId);
        await started.runtime.removePodSandbox(sandboxId);
      });
    }
  });
}

// Dead containers and unused images on a real containerd: what goes, what stays, and the logs beside them.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { createContainerGarbage } from '../../../agent/container/container-garbage.ts';
import type { ContainerGarbagePolicy } from '../../../agent/container/plan-container-garbage.ts';
import { type CriChannel, openCriChannel } from '../../../agent/cri/grpc-channel.ts';
import { createGrpcImageService } from '../../../agent/cri/grpc-image-service.ts';
import { createGrpcRuntimeService } from '../../../agent/cri/grpc-runtime-service.ts';
import type { ImageService } from '../../../agent/cri/image-service.ts';
import type { RuntimeService } from '../../../agent/cri/runtime-service.ts';
import { createImageGarbage } from '../../../agent/image/image-garbage.ts';
import type { ImageGarbagePolicy } from '../../../agent/image/plan-image-garbage.ts';
import { createRuntimeCache } from '../../../agent/runtime-cache/runtime-cache.ts';
import { busyboxImage, pauseImage } from '../../../packaging/images/build-images.ts';
import { writeOciArchive } from '../../../packaging/images/oci-archive.ts';
import { eventually } from '../../support/eventually.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { containerdUnavailable, startTestContainerd, type TestContainerd } from '../../support/test-containerd.ts';

const logger = pino({ level: 'silent' });
const signal = new AbortController().signal;
const namespaces = { network: 'NODE' as const, pid: 'CONTAINER' as const };
const linux = { securityContext: { namespaceOptions: namespaces } };

describe('garbage on a real runtime', { skip: containerdUnavailable() ?? false }, () => {
  let daemon: TestContainerd;
  let channel: CriChannel;
  let runtime: RuntimeService;
  let images: ImageService;
  let work = '';
  let pods = 0;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'berth-garbage-'));
    daemon = await startTestContainerd();
    channel = openCriChannel(daemon.endpoint);
    runtime = createGrpcRuntimeService(channel, 60_000);
    images = createGrpcImageService(channel, 60_000);
  });
  after(async () => {
    channel?.close();
    await daemon?.[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  /** A pod of which containers can be run to their end, one after the other. */
  async function startPod() {
    const uid = `uid-${pods++}`;
    const logDirectory = join(work, uid);
    await mkdir(logDirectory);
    const labels = {
      'io.kubernetes.pod.uid': uid,
      'io.kubernetes.pod.name': uid,
      'io.kubernetes.pod.namespace': 'n',
    };
    const sandbox = { metadata: { name: uid, uid, namespace: 'n' }, logDirectory, labels, linux };
    const id = await runtime.runPodSandbox(sandbox, '');
    return {
      uid,
      logDirectory,
      async run(name: string, attempt: number, command: string[]) {
        await mkdir(join(logDirectory, name), { recursive: true });
        const image = (await images.imageStatus({ image: busyboxImage }))?.id ?? '';
        const container = await runtime.createContainer(
          id,
          {
            metadata: { name, attempt },
            image: { image, userSpecifiedImage: busyboxImage },
            command,
            labels: { ...labels, 'io.kubernetes.container.name': name },
            annotations: { 'io.kubernetes.container.restartCount': `${attempt}` },
            logPath: `${name}/${attempt}.log`,
            linux,
          },
          sandbox,
        );
        await runtime.startContainer(container);
        return container;
      },
      async end(name: string, runs: number) {
        for (let attempt = 0; attempt < runs; attempt += 1) {
          const container = await this.run(name, attempt, ['echo', `run ${attempt}`]);
          const isOver = async () => (await runtime.containerStatus(container)).state === 'CONTAINER_EXITED';
          await eventually('it ends', isOver);
        }
      },
      logs: (name: string) => readdir(join(logDirectory, name)),
      async remove() {
        await runtime.stopPodSandbox(id);
        await runtime.removePodSandbox(id);
      },
    };
  }

  async function collect(policy: Partial<ContainerGarbagePolicy>, ended: string[] = []) {
    const cache = createRuntimeCache({ runtime, clock: systemClock, logger, relistPeriodMs: 1000 });
    await cache.relist(signal);
    const garbage = createContainerGarbage({
      ...{ runtime, pods: cache.all, refresh: cache.refresh, clock: systemClock, logger },
      hasEnded: (uid) => ended.includes(uid),
      policy: { minAgeMs: 0, maxPerContainer: 1, maxTotal: -1, ...policy },
    });
    if (ended.length > 0) await garbage.removeUnused(signal);
    else await garbage.collect(signal);
  }

  const attempts = async (uid: string) =>
    (await runtime.listContainers({ labelSelector: { 'io.kubernetes.pod.uid': uid } }))
      .map(({ metadata }) => `${metadata?.name} ${metadata?.attempt}`)
      .sort();

  it('keeps as many dead containers of each as it is told, with their logs', async () => {
    const pod = await startPod();
    await pod.end('a', 4);
    await writeFile(join(pod.logDirectory, 'a/0.log.20260101-000000.gz'), '');
    await collect({ minAgeMs: 3_600_000 });
    assert.equal((await attempts(pod.uid)).length, 4, 'all of them are young');
    await collect({ maxPerContainer: -1 });
    assert.equal((await attempts(pod.uid)).length, 4);
    await collect({ maxPerContainer: 3 });
    assert.deepEqual(await attempts(pod.uid), ['a 1', 'a 2', 'a 3']);
    assert.deepEqual((await pod.logs('a')).sort(), ['1.log', '2.log', '3.log']);
    await collect({ maxPerContainer: 0 });
    assert.deepEqual(await attempts(pod.uid), []);
    assert.deepEqual(await pod.logs('a'), ['3.log'], 'the newest tells how often it was started');
    await pod.remove();
  });

  it('keeps no more dead containers on the node than it is told, and none that runs goes', async () => {
    const [one, two] = [await startPod(), await startPod()];
    await one.end('a', 3);
    await two.end('b', 2);
    await two.run('live', 0, ['sleep', '600']);
    await collect({ maxPerContainer: -1, maxTotal: 2 });
    assert.deepEqual(await attempts(one.uid), ['a 2']);
    assert.deepEqual(await attempts(two.uid), ['b 1', 'live 0']);
    await collect({ maxPerContainer: 5 }, [one.uid]);
    assert.deepEqual(await attempts(one.uid), [], 'nothing of a pod that has ended');
    assert.deepEqual(await attempts(two.uid), ['b 1', 'live 0']);
    await one.remove();
    await two.remove();
  });

  async function bring(name: string): Promise<void> {
    const rootDir = join(work, name);
    await mkdir(rootDir);
    await writeFile(join(rootDir, 'content'), name.repeat(10_000));
    const outputPath = join(work, `${name}.tar`);
    await writeOciArchive(systemExec, { names: [`x.example.com/${name}:1`], rootDir, config: {}, outputPath });
    const socket = join(daemon.directory, 'containerd.sock');
    await execOrThrow(systemExec, 'ctr', ['-a', socket, '-n', 'k8s.io', 'images', 'import', outputPath]);
  }

  const names = async () =>
    (await images.listImages())
      .flatMap(({ repoTags }) => repoTags)
      .map((name) => name.replace(/^localhost\/berth\/|^x\.example\.com\//, ''))
      .sort();

  function collector(policy: Partial<ImageGarbagePolicy>) {
    const clock = createFakeClock(Date.now());
    const disk = { available: 100, capacity: 100 };
    const removed: string[] = [];
    const garbage = createImageGarbage({
      ...{ images, runtime, clock, logger },
      policy: { highPercent: 85, lowPercent: 80, minAgeMs: 120_000, maxAgeMs: 0, ...policy },
      record: () => undefined,
      measure: async () => disk,
      removed: (reason) => removed.push(reason),
    });
    return { garbage, clock, disk, removed };
  }

  it('removes unused images when the disk is full, and never that of sandboxes or one in use', async () => {
    const pod = await startPod();
    await pod.end('user', 1);
    await bring('first');
    const { garbage, clock, disk } = collector({});
    await garbage.collect(signal);
    await bring('second');
    await garbage.collect(signal);
    const all = ['busybox:1', 'first:1', 'pause:1', 'second:1'];
    assert.deepEqual(await names(), all, 'the disk is not full');
    disk.available = 14;
    await garbage.collect(signal);
    assert.deepEqual(await names(), ['busybox:1', 'pause:1', 'second:1'], 'what has just come is too young');
    await clock.advance(120_000);
    await garbage.collect(signal);
    assert.deepEqual(await names(), ['busybox:1', 'pause:1'], 'a dead container still uses its image');
    assert.ok((await images.imageStatus({ image: pauseImage })) !== undefined);
    await pod.remove();
  });

  it('removes images that nobody used for too long, and all of them when the node is short of disk', async () => {
    await bring('third');
    const { garbage, clock, removed } = collector({ maxAgeMs: 3_600_000 });
    await garbage.collect(signal);
    await clock.advance(3_600_000);
    await garbage.collect(signal);
    assert.ok((await names()).includes('third:1'));
    await clock.advance(1);
    await garbage.collect(signal);
    assert.deepEqual([await names(), removed.every((reason) => reason === 'age')], [['pause:1'], true]);
    await bring('fourth');
    const other = collector({ minAgeMs: 0 });
    assert.ok((await other.garbage.removeUnused(signal)) > 0);
    assert.deepEqual(await names(), ['pause:1']);
  });
});

// A container runtime in memory: it keeps sandboxes and containers, does to them what a script says, and records the
// calls that change something.
import { mkdirSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { Clock } from '#kube/process/clock.ts';
import type { ContainerConfig } from '#proto/generated/cri/runtime/v1/ContainerConfig.ts';
import type { ContainerStatus__Output } from '#proto/generated/cri/runtime/v1/ContainerStatus.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';
import { CriError } from '../../agent/cri/cri-error.ts';
import type { ImageService } from '../../agent/cri/image-service.ts';
import type { RuntimeService } from '../../agent/cri/runtime-service.ts';

/** How one run of a container goes. */
export interface Run {
  /** Absent: it runs until stopped. */
  exit?: { code: number; reason: string; afterMs?: number };
  /** Starting it fails with this text. */
  startError?: string;
  /** Written to its termination log, to its standard output. */
  terminationMessage?: string;
  output?: string;
  /** Exit code when it is stopped: 137 where absent. */
  stopCode?: number;
}

export interface RecordedCall {
  call: string;
  request: Record<string, unknown>;
  error?: string;
}

export interface FakeRuntimeOptions {
  clock: Clock;
  /** Image id by name; other images cannot be pulled. */
  images: Record<string, string>;
  pullError: (image: string) => string;
  run: (config: ContainerConfig, attempt: number) => Run;
  exec: (command: string[]) => number;
}

export interface FakeRuntime {
  runtime: RuntimeService;
  images: ImageService;
  calls: RecordedCall[];
}

interface FakeContainer {
  id: string;
  sandboxId: string;
  config: ContainerConfig;
  logDirectory: string;
  attempt: number;
  run: Run;
  state: ContainerStatus__Output['state'];
  createdAt: number;
  startedAt: number;
  finishedAt: number;
  exitCode: number;
  reason: string;
  message: string;
}

interface FakeSandbox {
  id: string;
  config: PodSandboxConfig;
  ready: boolean;
  createdAt: number;
  ip: string;
}

function matches(labels: Record<string, string> | undefined, selector: Record<string, string> | undefined): boolean {
  return Object.entries(selector ?? {}).every(([key, value]) => labels?.[key] === value);
}

/** Creates an empty runtime. */
export function createFakeRuntime(options: FakeRuntimeOptions): FakeRuntime {
  const { clock } = options;
  const calls: RecordedCall[] = [];
  const sandboxes = new Map<string, FakeSandbox>();
  const containers = new Map<string, FakeContainer>();
  let order = 0;
  // Later things are newer even where the clock stands still.
  const nowNs = () => {
    order += 1;
    return clock.now() * 1e6 + order * 1e3;
  };

  const record = (call: string, request: Record<string, unknown>, error?: string) => {
    calls.push({ call, request, ...(error === undefined ? {} : { error }) });
  };

  const missing = (call: string, id: string): never => {
    throw new CriError(call, 'NotFound', `${id} not found`);
  };

  function exit(container: FakeContainer, code: number, reason: string): void {
    if (container.state === 'CONTAINER_EXITED') return;
    const { terminationMessage, output } = container.run;
    const log = container.config.mounts?.find((mount) => mount.containerPath === '/dev/termination-log')?.hostPath;
    if (terminationMessage !== undefined && log !== undefined) writeFileSync(log, terminationMessage);
    if (output !== undefined) {
      const path = join(container.logDirectory, container.config.logPath ?? '');
      mkdirSync(dirname(path), { recursive: true });
      const time = new Date(clock.now()).toISOString();
      writeFileSync(
        path,
        output.replace(/^(.+)\n/gm, (_, line: string) => `${time} stdout F ${line}\n`),
      );
    }
    container.state = 'CONTAINER_EXITED';
    container.exitCode = code;
    container.reason = reason;
    container.finishedAt = nowNs();
  }

  function statusOf(container: FakeContainer): ContainerStatus__Output {
    const { config } = container;
    return {
      id: container.id,
      metadata: { name: config.metadata?.name ?? '', attempt: container.attempt },
      state: container.state,
      createdAt: container.createdAt,
      startedAt: container.startedAt,
      finishedAt: container.finishedAt,
      exitCode: container.exitCode,
      image: {
        image: config.image?.userSpecifiedImage ?? '',
        annotations: {},
        userSpecifiedImage: '',
        runtimeHandler: '',
        imageRef: '',
      },
      imageRef: config.image?.image ?? '',
      reason: container.reason,
      message: container.message,
      labels: config.labels ?? {},
      annotations: config.annotations ?? {},
      mounts: (config.mounts ?? []) as ContainerStatus__Output['mounts'],
      logPath: join(container.logDirectory, config.logPath ?? ''),
      resources: null,
      imageId: '',
      user: null,
      stopSignal: 'RUNTIME_DEFAULT',
    };
  }

  const runtime: RuntimeService = {
    version: async () => ({
      version: '0.1.0',
      runtimeName: 'containerd',
      runtimeVersion: '1.6.20',
      runtimeApiVersion: 'v1',
    }),
    status: async () => ({ status: { conditions: [] }, info: {}, runtimeHandlers: [], features: null }),
    updateRuntimeConfig: async () => undefined,
    async runPodSandbox(config) {
      record('RunPodSandbox', { config });
      const id = `sandbox-${sandboxes.size}`;
      sandboxes.set(id, { id, config, ready: true, createdAt: nowNs(), ip: '127.0.0.1' });
      return id;
    },
    async stopPodSandbox(id) {
      record('StopPodSandbox', { podSandboxId: id });
      const sandbox = sandboxes.get(id);
      if (sandbox !== undefined) sandbox.ready = false;
    },
    async removePodSandbox(id) {
      record('RemovePodSandbox', { podSandboxId: id });
      sandboxes.delete(id);
    },
    async podSandboxStatus(id) {
      const sandbox = sandboxes.get(id) ?? missing('PodSandboxStatus', id);
      const { config } = sandbox;
      return {
        status: {
          id,
          metadata: { name: '', uid: '', namespace: '', attempt: config.metadata?.attempt ?? 0 },
          state: sandbox.ready ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
          createdAt: sandbox.createdAt,
          network: { ip: sandbox.ready ? sandbox.ip : '', additionalIps: [] },
          linux: null,
          labels: config.labels ?? {},
          annotations: config.annotations ?? {},
          runtimeHandler: '',
        },
        containers: [],
      };
    },
    listPodSandbox: async (filter) =>
      [...sandboxes.values()]
        .filter(({ config }) => matches(config.labels, filter?.labelSelector))
        .map(({ id, config, ready, createdAt }) => ({
          id,
          metadata: null,
          state: ready ? 'SANDBOX_READY' : 'SANDBOX_NOTREADY',
          createdAt,
          labels: config.labels ?? {},
          annotations: {},
          runtimeHandler: '',
        })),
    async createContainer(sandboxId, config, sandboxConfig) {
      record('CreateContainer', { podSandboxId: sandboxId, config });
      const attempt = config.metadata?.attempt ?? 0;
      const id = `container-${config.metadata?.name}-${attempt}`;
      containers.set(id, {
        id,
        sandboxId,
        config,
        logDirectory: sandboxConfig.logDirectory ?? '',
        attempt,
        run: options.run(config, attempt),
        state: 'CONTAINER_CREATED',
        createdAt: nowNs(),
        startedAt: 0,
        finishedAt: 0,
        exitCode: 0,
        reason: '',
        message: '',
      });
      return id;
    },
    async startContainer(id) {
      const container = containers.get(id) ?? missing('StartContainer', id);
      const { startError, exit: end } = container.run;
      record('StartContainer', { containerId: id }, startError);
      if (startError !== undefined) {
        container.message = startError;
        exit(container, 128, 'StartError');
        throw new CriError('StartContainer', 'Unknown', startError);
      }
      container.state = 'CONTAINER_RUNNING';
      // As every runtime does: how often a container ran can be told from its logs.
      const log = join(container.logDirectory, container.config.logPath ?? '');
      if (container.logDirectory.startsWith(tmpdir())) {
        mkdirSync(dirname(log), { recursive: true });
        writeFileSync(log, '', { flag: 'a' });
      }
      container.startedAt = nowNs();
      if (end === undefined) return;
      if (end.afterMs === undefined) exit(container, end.code, end.reason);
      else clock.after(end.afterMs, () => exit(container, end.code, end.reason));
    },
    async stopContainer(id, timeout) {
      record('StopContainer', { containerId: id, timeout });
      const container = containers.get(id) ?? missing('StopContainer', id);
      const code = container.run.stopCode ?? 137;
      exit(container, code, code === 0 ? 'Completed' : 'Error');
    },
    async updateContainerResources(id, linux) {
      record('UpdateContainerResources', { containerId: id, linux });
    },
    async removeContainer(id) {
      record('RemoveContainer', { containerId: id });
      containers.delete(id);
    },
    listContainers: async (filter) =>
      [...containers.values()]
        .filter(({ config }) => matches(config.labels, filter?.labelSelector))
        .map((container) => ({
          id: container.id,
          podSandboxId: container.sandboxId,
          metadata: null,
          image: null,
          imageRef: '',
          state: container.state,
          createdAt: container.createdAt,
          labels: container.config.labels ?? {},
          annotations: {},
          imageId: '',
        })),
    containerStatus: async (id) => statusOf(containers.get(id) ?? missing('ContainerStatus', id)),
    reopenContainerLog: async () => undefined,
    async execSync(containerId, cmd, timeout) {
      record('ExecSync', { containerId, cmd, timeout });
      return { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0), exitCode: options.exec(cmd) };
    },
    exec: async () => '',
    attach: async () => '',
    portForward: async () => '',
    checkpointContainer: async () => {
      throw new CriError('CheckpointContainer', 'Unimplemented', 'the test has no checkpoints');
    },
    listContainerStats: async () => [],
    async *containerEvents() {
      yield* [];
      throw new CriError('GetContainerEvents', 'Unimplemented', 'unknown method GetContainerEvents');
    },
  };

  const images: ImageService = {
    listImages: async () => [],
    async imageStatus({ image = '' }) {
      const id = options.images[image];
      if (id === undefined) return undefined;
      return { id, repoTags: [image], repoDigests: [], size: 1000, uid: null, username: '', spec: null, pinned: false };
    },
    async pullImage(image) {
      const error = options.pullError(image.image ?? '');
      record('PullImage', { image }, error);
      throw new CriError('PullImage', 'NotFound', error);
    },
    removeImage: async () => undefined,
    imageFsInfo: async () => ({ imageFilesystems: [], containerFilesystems: [] }),
  };
  return { runtime, images, calls };
}

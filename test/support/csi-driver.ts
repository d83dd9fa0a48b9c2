// A CSI driver of the tests' own, on real sockets with real mounts: volumes are directories, or files for raw devices.
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import type { RegistrationHandlers } from '#proto/generated/pluginregistration/pluginregistration/Registration.ts';
import { loadRegistrationPackage } from '../../agent/plugin-registration/registration-client.ts';
import { loadCsiPackage } from '../../agent/volume/csi/csi-node-client.ts';
import { createMounter } from '../../agent/volume/mounter.ts';

export interface CsiCall {
  method: string;
  request: Record<string, unknown>;
}

export interface CsiDriverOptions {
  name: string;
  /** The agent's root directory: sockets go into its plugins and plugins_registry. */
  agentRoot: string;
  /** Where the volumes' data is. */
  dataDir: string;
  nodeId?: string;
  maxVolumes?: number;
  topology?: Record<string, string>;
  /** As CSI names them; staging, statistics and expansion where absent. */
  capabilities?: readonly string[];
}

export interface CsiDriver extends AsyncDisposable {
  calls: CsiCall[];
  /** Names of the methods called for a volume, in order. */
  methodsOf(volumeId: string): string[];
  /** Those that change something: statistics are asked for whenever somebody looks. */
  changesOf(volumeId: string): string[];
  requestsOf(method: string, volumeId?: string): Record<string, unknown>[];
  /** What the agent said about the registration. */
  registered: { pluginRegistered: boolean; error: string }[];
  /** The next calls of a method fail with this message; undefined: no more. */
  fail(method: string, message: string | undefined): void;
  /** The directory of a volume's data. */
  dataOf(volumeId: string): string;
  /** Takes the sockets away, as when the driver's pod ends. */
  stop(): Promise<void>;
  start(): Promise<void>;
}

type Handler = (request: Record<string, unknown>) => Promise<object>;

const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function isDevice(request: Record<string, unknown>): boolean {
  const { block } = (request['volumeCapability'] ?? {}) as { block?: object | null };
  return block !== undefined && block !== null;
}

/** Starts the driver and registers it. */
export async function startCsiDriver(options: CsiDriverOptions): Promise<CsiDriver> {
  const { name, agentRoot, dataDir } = options;
  const endpoint = join(agentRoot, 'plugins', name, 'csi.sock');
  const registration = join(agentRoot, 'plugins_registry', `${name}-reg.sock`);
  const mounter = createMounter(systemExec);
  const calls: CsiCall[] = [];
  const registered: CsiDriver['registered'] = [];
  const failures = new Map<string, string>();
  const capabilities = options.capabilities ?? ['STAGE_UNSTAGE_VOLUME', 'GET_VOLUME_STATS', 'EXPAND_VOLUME'];
  const dataOf = (volumeId: string) => join(dataDir, volumeId);

  async function bindInto(source: string, target: string, readOnly: boolean): Promise<void> {
    await mkdir(target, { recursive: true });
    if (!(await mounter.listBelow(target)).includes(target)) await mounter.bind(source, target, { readOnly });
  }

  async function publishDevice(volumeId: string, target: string): Promise<void> {
    const image = `${dataOf(volumeId)}.img`;
    await mkdir(dataDir, { recursive: true });
    await execOrThrow(systemExec, 'truncate', ['-s', '8M', image]);
    const attached = (await execOrThrow(systemExec, 'losetup', ['-j', image])).split(':')[0]?.trim() ?? '';
    const device = attached || (await execOrThrow(systemExec, 'losetup', ['-f', '--show', image])).trim();
    await mkdir(dirname(target), { recursive: true });
    await writeFile(target, '', { flag: 'a' });
    await mounter.bind(device, target, { readOnly: false });
  }

  async function unmount(target: string): Promise<void> {
    for (const path of await mounter.listBelow(target)) await mounter.unmount(path);
    await rm(target, { recursive: true, force: true });
  }

  const handlers: Record<string, Handler> = {
    NodeGetCapabilities: async () => ({ capabilities: capabilities.map((type) => ({ rpc: { type } })) }),
    NodeGetInfo: async () => ({
      nodeId: options.nodeId ?? 'node-id',
      maxVolumesPerNode: options.maxVolumes ?? 0,
      accessibleTopology: { segments: options.topology ?? {} },
    }),
    async NodeStageVolume(request) {
      if (isDevice(request)) return {};
      const volumeId = text(request['volumeId']);
      await mkdir(dataOf(volumeId), { recursive: true });
      await bindInto(dataOf(volumeId), text(request['stagingTargetPath']), false);
      return {};
    },
    async NodeUnstageVolume(request) {
      const target = text(request['stagingTargetPath']);
      for (const path of await mounter.listBelow(target)) await mounter.unmount(path);
      return {};
    },
    async NodePublishVolume(request) {
      const [volumeId, target] = [text(request['volumeId']), text(request['targetPath'])];
      if (isDevice(request)) {
        await publishDevice(volumeId, target);
        return {};
      }
      await mkdir(dataOf(volumeId), { recursive: true });
      const staging = text(request['stagingTargetPath']);
      await bindInto(staging === '' ? dataOf(volumeId) : staging, target, request['readonly'] === true);
      return {};
    },
    async NodeUnpublishVolume(request) {
      await unmount(text(request['targetPath']));
      return {};
    },
    NodeExpandVolume: async () => ({ capacityBytes: 0 }),
    NodeGetVolumeStats: async () => ({
      usage: [
        { available: 600, total: 1000, used: 400, unit: 'BYTES' },
        { available: 6, total: 10, used: 4, unit: 'INODES' },
      ],
    }),
  };

  function serve(method: string) {
    return (call: ServerUnaryCall<Record<string, unknown>, object>, done: sendUnaryData<object>) => {
      calls.push({ method, request: call.request });
      const failure = failures.get(method);
      if (failure !== undefined) {
        done({ code: status.INTERNAL, details: failure });
        return;
      }
      const handler = handlers[method] ?? (async () => ({}));
      handler(call.request).then(
        (answer) => done(null, answer),
        (error: Error) => done({ code: status.INTERNAL, details: error.message }),
      );
    };
  }

  function listen(server: Server, socket: string): Promise<void> {
    return new Promise((resolve, reject) => {
      server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
        error === null ? resolve() : reject(error),
      );
    });
  }

  let servers: Server[] = [];
  async function start(): Promise<void> {
    await mkdir(dirname(endpoint), { recursive: true });
    await mkdir(dirname(registration), { recursive: true });
    await rm(endpoint, { force: true });
    await rm(registration, { force: true });
    const node = new Server();
    const { service } = loadCsiPackage().csi.v1.Node;
    node.addService(
      service,
      Object.fromEntries(Object.keys(service).map((method) => [method, serve(method)])) as never,
    );
    await listen(node, endpoint);
    const registrar = new Server();
    const handlers: RegistrationHandlers = {
      GetInfo: (_, done) => done(null, { type: 'CSIPlugin', name, endpoint, supportedVersions: ['1.0.0'] }),
      NotifyRegistrationStatus: ({ request }, done) => {
        registered.push(request);
        done(null, {});
      },
    };
    registrar.addService(loadRegistrationPackage().pluginregistration.Registration.service, handlers);
    await listen(registrar, registration);
    servers = [node, registrar];
  }
  async function stop(): Promise<void> {
    for (const server of servers) server.forceShutdown();
    servers = [];
    await rm(registration, { force: true });
    await rm(endpoint, { force: true });
  }

  await start();
  return {
    calls,
    registered,
    methodsOf: (volumeId) =>
      calls.filter(({ request }) => request['volumeId'] === volumeId).map(({ method }) => method),
    changesOf: (volumeId) =>
      calls
        .filter(({ request, method }) => request['volumeId'] === volumeId && method !== 'NodeGetVolumeStats')
        .map(({ method }) => method),
    requestsOf: (method, volumeId) =>
      calls
        .filter((call) => call.method === method && (volumeId === undefined || call.request['volumeId'] === volumeId))
        .map(({ request }) => request),
    fail(method, message) {
      if (message === undefined) failures.delete(method);
      else failures.set(method, message);
    },
    dataOf,
    start,
    stop,
    async [Symbol.asyncDispose]() {
      await stop();
      await detachLoops(dataDir);
    },
  };
}

/** Detaches loop devices on files of the directory. */
async function detachLoops(directory: string): Promise<void> {
  const listed = await execOrThrow(systemExec, 'losetup', ['-a']);
  for (const line of listed.split('\n').filter((text) => text.includes(directory))) {
    await execOrThrow(systemExec, 'losetup', ['-d', line.split(':')[0] ?? '']);
  }
}

// A device plugin of the tests' own, on real sockets: it registers again when the agent's socket comes back, as plugins do.
import { existsSync } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import {
  credentials,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import type { AllocateRequest__Output } from '#proto/generated/deviceplugin/v1beta1/AllocateRequest.ts';
import type { ContainerAllocateResponse } from '#proto/generated/deviceplugin/v1beta1/ContainerAllocateResponse.ts';
import type { Device } from '#proto/generated/deviceplugin/v1beta1/Device.ts';
import { loadDevicePluginPackage } from '../../agent/device-plugin/device-plugin-client.ts';

export interface TestDevicePlugin extends AsyncDisposable {
  /** Calls that the agent made, in order: method and device ids. */
  calls: [string, string[]][];
  /** Error texts that the agent answered registrations with. */
  refused: string[];
  registrations: number;
  /** Tells the agent other devices. */
  tell(devices: Device[]): void;
}

export interface TestDevicePluginOptions {
  directory: string;
  resource: string;
  devices: Device[];
  preStart?: boolean;
  preferred?(available: string[], size: number): string[];
  allocate(ids: string[]): ContainerAllocateResponse;
  version?: string;
}

const pollMs = 100;

/** Starts it; registers as soon as there is an agent. */
export async function startDevicePlugin(options: TestDevicePluginOptions): Promise<TestDevicePlugin> {
  const { directory, resource } = options;
  const { v1beta1 } = loadDevicePluginPackage();
  const name = `${resource.replaceAll(/\W/g, '-')}.sock`;
  const socket = join(directory, name);
  const kubelet = join(directory, 'kubelet.sock');
  const calls: TestDevicePlugin['calls'] = [];
  const refused: string[] = [];
  const streams = new Set<ServerWritableStream<object, { devices: Device[] }>>();
  let devices = options.devices;
  let registrations = 0;
  let server: Server | undefined;

  async function listen(): Promise<void> {
    server?.forceShutdown();
    await mkdir(directory, { recursive: true });
    await rm(socket, { force: true });
    server = new Server();
    const optionsAnswer = {
      preStartRequired: options.preStart === true,
      getPreferredAllocationAvailable: options.preferred !== undefined,
    };
    server.addService(v1beta1.DevicePlugin.service, {
      GetDevicePluginOptions: (_: unknown, answer: sendUnaryData<object>) => answer(null, optionsAnswer),
      ListAndWatch(call: ServerWritableStream<object, { devices: Device[] }>) {
        streams.add(call);
        call.on('cancelled', () => streams.delete(call));
        call.write({ devices });
      },
      Allocate(call: ServerUnaryCall<AllocateRequest__Output, object>, answer: sendUnaryData<object>) {
        const ids = call.request.containerRequests[0]?.devicesIds ?? [];
        calls.push(['Allocate', ids]);
        answer(null, { containerResponses: [options.allocate(ids)] });
      },
      GetPreferredAllocation(
        call: ServerUnaryCall<
          { containerRequests: { availableDeviceIDs: string[]; allocationSize: number }[] },
          object
        >,
        answer: sendUnaryData<object>,
      ) {
        const [request] = call.request.containerRequests;
        const deviceIDs = options.preferred?.(request?.availableDeviceIDs ?? [], request?.allocationSize ?? 0) ?? [];
        answer(null, { containerResponses: [{ deviceIDs }] });
      },
      PreStartContainer(call: ServerUnaryCall<{ devicesIds: string[] }, object>, answer: sendUnaryData<object>) {
        calls.push(['PreStartContainer', call.request.devicesIds]);
        answer(null, {});
      },
    });
    const { promise, resolve, reject } = Promise.withResolvers<void>();
    server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
    await promise;
  }

  async function register(): Promise<void> {
    const client = new v1beta1.Registration(`unix://${kubelet}`, credentials.createInsecure());
    const { promise, resolve } = Promise.withResolvers<void>();
    client.Register({ version: options.version ?? 'v1beta1', endpoint: name, resourceName: resource }, (error) => {
      if (error === null) registrations += 1;
      else refused.push(error.details);
      resolve();
    });
    await promise;
    client.close();
  }

  let seen: number | undefined;
  let busy = false;
  const timer = setInterval(() => {
    if (busy) return;
    busy = true;
    const look = async () => {
      const inode = (await stat(kubelet).catch(() => undefined))?.ino;
      if (inode === undefined || (inode === seen && existsSync(socket))) return;
      await listen();
      await register();
      seen = inode;
    };
    look()
      .catch(() => undefined)
      .finally(() => {
        busy = false;
      });
  }, pollMs);

  return {
    calls,
    refused,
    get registrations() {
      return registrations;
    },
    tell(changed) {
      devices = changed;
      for (const stream of streams) stream.write({ devices });
    },
    async [Symbol.asyncDispose]() {
      clearInterval(timer);
      server?.forceShutdown();
      await rm(socket, { force: true });
    },
  };
}

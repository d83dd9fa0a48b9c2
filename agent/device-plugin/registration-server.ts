// The socket on which device plugins register: kubelet.sock in the device-plugins folder.
import { readdir, rm } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js';
import type { Empty } from '#proto/generated/deviceplugin/v1beta1/Empty.ts';
import type { RegisterRequest__Output } from '#proto/generated/deviceplugin/v1beta1/RegisterRequest.ts';
import { loadDevicePluginPackage } from './device-plugin-client.ts';

const version = 'v1beta1';
const resourceName = /^(?!requests\.)[a-z0-9]([-a-z0-9.]*[a-z0-9])?\/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$/;

/** A plugin that wants to be used. */
export interface DevicePluginRequest {
  resource: string;
  socketPath: string;
}

/** Whether devices may have this name: that of an extended resource. */
export function isDeviceResource(name: string): boolean {
  return resourceName.test(name) && !/(^|\.)kubernetes\.io\//.test(name);
}

/** Checks a registration. Throws what the plugin is told. */
export function checkRegistration(request: RegisterRequest__Output, directory: string): DevicePluginRequest {
  if (request.version !== version) {
    throw new Error(
      `requested API version ${JSON.stringify(request.version)} is not supported by kubelet. Supported version is ${JSON.stringify(version)}`,
    );
  }
  if (!isDeviceResource(request.resourceName)) {
    throw new Error(`the ResourceName ${JSON.stringify(request.resourceName)} is invalid`);
  }
  if (request.endpoint === '' || basename(request.endpoint) !== request.endpoint) {
    throw new Error(`the endpoint ${JSON.stringify(request.endpoint)} is not the name of a socket beside kubelet.sock`);
  }
  return { resource: request.resourceName, socketPath: join(directory, request.endpoint) };
}

/** Sockets of an earlier life: plugins see that they are gone, and register again. */
async function removeSockets(directory: string): Promise<void> {
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    if (entry.isSocket()) await rm(join(directory, entry.name), { force: true });
  }
}

/** Serves until the signal is aborted. */
export async function serveRegistration(
  directory: string,
  register: (request: DevicePluginRequest) => void,
  signal: AbortSignal,
): Promise<void> {
  await removeSockets(directory);
  const server = new Server();
  server.addService(loadDevicePluginPackage().v1beta1.Registration.service, {
    Register(call: ServerUnaryCall<RegisterRequest__Output, Empty>, answer: sendUnaryData<Empty>) {
      try {
        register(checkRegistration(call.request, directory));
        answer(null, {});
      } catch (error) {
        answer({ code: status.INVALID_ARGUMENT, details: (error as Error).message });
      }
    },
  });
  const socket = join(directory, 'kubelet.sock');
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.bindAsync(`unix://${socket}`, ServerCredentials.createInsecure(), (error) =>
    error === null ? resolve() : reject(error),
  );
  await promise;
  if (!signal.aborted) {
    await new Promise<void>((done) => signal.addEventListener('abort', () => done(), { once: true }));
  }
  server.forceShutdown();
  await rm(socket, { force: true });
}

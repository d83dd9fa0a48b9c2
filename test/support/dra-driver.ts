// A driver of dynamic resources of the tests' own, on real sockets.
import { mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import {
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { loadDraHealthPackage, loadDraPackage } from '../../agent/dra/dra-client.ts';
import { loadRegistrationPackage } from '../../agent/plugin-registration/registration-client.ts';

export interface TestDraDriver extends AsyncDisposable {
  /** Method and the name of the claim, in order. */
  calls: [string, string][];
  registered: boolean[];
  /** Says how its one device is. */
  tell(health: 'HEALTHY' | 'UNHEALTHY', message: string): void;
}

interface Request {
  claims: { uid: string; name: string; namespace: string }[];
}

async function listen(path: string, add: (server: Server) => void): Promise<Server> {
  await rm(path, { force: true });
  const server = new Server();
  add(server);
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  server.bindAsync(`unix://${path}`, ServerCredentials.createInsecure(), (error) =>
    error === null ? resolve() : reject(error),
  );
  await promise;
  return server;
}

/** Starts it and registers it; `error` answers an attempt to prepare a claim, undefined lets it succeed. */
export async function startDraDriver(
  name: string,
  agentRoot: string,
  error: (call: number) => string | undefined = () => undefined,
): Promise<TestDraDriver> {
  const calls: TestDraDriver['calls'] = [];
  const registered: boolean[] = [];
  const directory = join(agentRoot, 'plugins', name);
  await mkdir(directory, { recursive: true });
  const endpoint = join(directory, 'dra.sock');
  let prepared = 0;
  let health = { health: 'HEALTHY', message: '' };
  const watchers = new Set<ServerWritableStream<object, object>>();
  const answerFor = () => ({
    devices: [{ device: { poolName: 'pool', deviceName: 'device-0' }, healthCheckTimeoutSeconds: 600, ...health }],
  });
  const main = await listen(endpoint, (server) => {
    server.addService(loadDraHealthPackage().v1alpha1.DRAResourceHealth.service, {
      NodeWatchResources(call: ServerWritableStream<object, object>) {
        watchers.add(call);
        call.on('close', () => watchers.delete(call));
        call.write(answerFor());
      },
    });
    server.addService(loadDraPackage().k8s.io.kubelet.pkg.apis.dra.v1.DRAPlugin.service, {
      NodePrepareResources(call: ServerUnaryCall<Request, object>, answer: sendUnaryData<object>) {
        const claims = call.request.claims.map((claim) => {
          calls.push(['prepare', claim.name]);
          prepared += 1;
          const failed = error(prepared);
          const device = {
            requestNames: ['main'],
            poolName: 'pool',
            deviceName: 'device-0',
            cdiDeviceIds: [`${name}/claim=${claim.uid}`],
          };
          return [claim.uid, failed === undefined ? { devices: [device], error: '' } : { devices: [], error: failed }];
        });
        answer(null, { claims: Object.fromEntries(claims) });
      },
      NodeUnprepareResources(call: ServerUnaryCall<Request, object>, answer: sendUnaryData<object>) {
        for (const claim of call.request.claims) calls.push(['unprepare', claim.name]);
        answer(null, { claims: Object.fromEntries(call.request.claims.map(({ uid }) => [uid, { error: '' }])) });
      },
    });
  });
  const socket = join(agentRoot, 'plugins_registry', `${name}-reg.sock`);
  const registration = await listen(socket, (server) =>
    server.addService(loadRegistrationPackage().pluginregistration.Registration.service, {
      GetInfo: (_: unknown, answer: sendUnaryData<object>) =>
        answer(null, { type: 'DRAPlugin', name, endpoint, supportedVersions: ['v1.DRAPlugin', 'v1beta1.DRAPlugin'] }),
      NotifyRegistrationStatus(
        call: ServerUnaryCall<{ pluginRegistered: boolean }, object>,
        answer: sendUnaryData<object>,
      ) {
        registered.push(call.request.pluginRegistered);
        answer(null, {});
      },
    }),
  );
  return {
    calls,
    registered,
    tell(word, message) {
      health = { health: word, message };
      for (const call of watchers) call.write(answerFor());
    },
    async [Symbol.asyncDispose]() {
      main.forceShutdown();
      registration.forceShutdown();
      await rm(socket, { force: true });
      await rm(directory, { recursive: true, force: true });
    },
  };
}

// Stands between an agent and a real runtime, on a socket of its own: records what passes and, where a fault says so,
// delays a call, fails it, keeps it hanging or loses its answer.
import { rename, rm } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  credentials,
  type Metadata,
  type MethodDefinition,
  makeGenericClientConstructor,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  type ServerWritableStream,
  type ServiceDefinition,
  type sendUnaryData,
  status,
} from '@grpc/grpc-js';
import { loadCriPackage } from '../../agent/cri/grpc-channel.ts';

/** One call that passed, with the runtime's answer or the text of its error. */
export interface ProxiedCall {
  call: string;
  request: Record<string, unknown>;
  answer?: Record<string, unknown>;
  error?: string;
}

/** What is done to calls. The first fault that matches a call is applied. */
export interface CriFault {
  /** For example ContainerStatus. */
  call: string;
  matches?: (request: Record<string, unknown>) => boolean;
  /**
   * `hang`: the call never reaches the runtime and never ends; `error`: it fails at once; `delay`: it goes on after
   * `delayMs`; `drop`: the runtime does it, and its answer is lost with the connection's error.
   */
  effect: 'hang' | 'error' | 'delay' | 'drop';
  /** Of `error`: a gRPC status code, UNKNOWN where absent. */
  code?: number;
  message?: string;
  delayMs?: number;
  /** How often it happens; always where absent. */
  times?: number;
}

export interface CriProxy extends AsyncDisposable {
  calls: ProxiedCall[];
  /** Applied from now on; answers what takes the fault away again and lets hanging calls fail. */
  inject(fault: CriFault): () => void;
}

type Message = Record<string, unknown>;
type Method = MethodDefinition<object, object>;

interface ActiveFault {
  fault: CriFault;
  left: number;
  removed: PromiseWithResolvers<void>;
}

const lost = { code: status.UNAVAILABLE, details: 'the connection was lost' };

/** Serves `socketPath`, which must be free, and passes everything on to the runtime at `runtimePath`. */
export async function startCriProxy(socketPath: string, runtimePath: string): Promise<CriProxy> {
  const { runtime } = loadCriPackage();
  const limits = { 'grpc.max_receive_message_length': 1 << 26, 'grpc.max_send_message_length': 1 << 26 };
  const server = new Server(limits);
  const calls: ProxiedCall[] = [];
  const faults = new Set<ActiveFault>();
  const clients: { close(): void }[] = [];

  function faultOf(call: string, request: Message): ActiveFault | undefined {
    for (const active of faults) {
      if (active.left === 0 || active.fault.call !== call || active.fault.matches?.(request) === false) continue;
      active.left -= 1;
      return active;
    }
    return undefined;
  }

  function serve(definition: ServiceDefinition): void {
    const Client = makeGenericClientConstructor(definition, 'runtime');
    const client = new Client(`unix://${runtimePath}`, credentials.createInsecure(), {
      ...limits,
      'grpc.default_authority': 'localhost',
    });
    clients.push(client);

    function passOn(
      name: string,
      method: Method,
      call: ServerUnaryCall<object, object>,
      answer: sendUnaryData<object>,
    ) {
      const record: ProxiedCall = { call: name, request: call.request as Message };
      calls.push(record);
      const fault = faultOf(name, record.request);
      const forward = (end: sendUnaryData<object>) => {
        const deadline = call.getDeadline();
        const sent = client.makeUnaryRequest(
          method.path,
          method.requestSerialize,
          method.responseDeserialize,
          call.request,
          call.metadata,
          { deadline },
          (error, value) => {
            if (error !== null) record.error = error.details;
            else record.answer = value as Message;
            end(error, value);
          },
        );
        call.on('cancelled', () => sent.cancel());
      };
      switch (fault?.fault.effect) {
        case undefined:
          forward(answer);
          break;
        case 'hang':
          void fault?.removed.promise.then(() => answer(lost));
          break;
        case 'error':
          record.error = fault?.fault.message ?? 'injected';
          answer({ code: fault?.fault.code ?? status.UNKNOWN, details: fault?.fault.message ?? 'injected' });
          break;
        case 'delay':
          void sleep(fault?.fault.delayMs ?? 0).then(() => forward(answer));
          break;
        case 'drop':
          forward(() => answer(lost));
          break;
      }
    }

    function stream(method: Method, call: ServerWritableStream<object, object>): void {
      const metadata: Metadata = call.metadata;
      const source = client.makeServerStreamRequest(
        method.path,
        method.requestSerialize,
        method.responseDeserialize,
        call.request,
        metadata,
      );
      source.on('data', (message: object) => call.write(message));
      source.on('error', (error) => call.emit('error', error));
      source.on('end', () => call.end());
      call.on('cancelled', () => source.cancel());
    }

    const handlers: Record<string, unknown> = {};
    for (const [name, method] of Object.entries(definition) as [string, Method][]) {
      handlers[name] = method.responseStream
        ? (call: ServerWritableStream<object, object>) => stream(method, call)
        : (call: ServerUnaryCall<object, object>, answer: sendUnaryData<object>) => passOn(name, method, call, answer);
    }
    // Every method of the definition has its handler above.
    server.addService(definition, handlers as Parameters<Server['addService']>[1]);
  }

  serve(runtime.v1.RuntimeService.service as unknown as ServiceDefinition);
  serve(runtime.v1.ImageService.service as unknown as ServiceDefinition);
  await new Promise<void>((resolve, reject) => {
    server.bindAsync(`unix://${socketPath}`, ServerCredentials.createInsecure(), (error) =>
      error === null ? resolve() : reject(error),
    );
  });
  return {
    calls,
    inject(fault) {
      const active: ActiveFault = {
        fault,
        left: fault.times ?? Number.POSITIVE_INFINITY,
        removed: Promise.withResolvers(),
      };
      faults.add(active);
      return () => {
        faults.delete(active);
        active.removed.resolve();
      };
    },
    async [Symbol.asyncDispose]() {
      for (const { removed } of faults) removed.resolve();
      server.forceShutdown();
      for (const client of clients) client.close();
      await rm(socketPath, { force: true });
    },
  };
}

/** Puts a proxy in the place of a runtime's socket: who connects from now on meets the proxy. */
export async function interposeCriProxy(socketPath: string): Promise<CriProxy> {
  const aside = `${socketPath}.real`;
  await rename(socketPath, aside);
  const proxy = await startCriProxy(socketPath, aside);
  return {
    ...proxy,
    async [Symbol.asyncDispose]() {
      await proxy[Symbol.asyncDispose]();
      await rename(aside, socketPath);
    },
  };
}

// The gRPC side of CRI: loads the protocol, opens the clients, and turns calls into promises that end with CriError.
import { fileURLToPath } from 'node:url';
import {
  type CallOptions,
  type Client,
  credentials,
  loadPackageDefinition,
  Metadata,
  type ServiceError,
} from '@grpc/grpc-js';
import { loadSync } from '@grpc/proto-loader';
import type { ProtoGrpcType } from '#proto/generated/cri/api.ts';
import type { ImageServiceDefinition } from '#proto/generated/cri/runtime/v1/ImageService.ts';
import type { RuntimeServiceClient, RuntimeServiceDefinition } from '#proto/generated/cri/runtime/v1/RuntimeService.ts';
import { mapServiceError } from './cri-error.ts';

const maxMessageBytes = 16 * 1024 * 1024;

/** One connection to a runtime endpoint. */
export interface CriChannel {
  runtime: RuntimeServiceClient;
  runtimeMethods: RuntimeServiceDefinition;
  image: Client;
  imageMethods: ImageServiceDefinition;
  close(): void;
}

/** Limits of one call. */
export interface UnaryOptions {
  /** Absent: no limit. */
  timeoutMs?: number | undefined;
  signal?: AbortSignal | undefined;
}

/** What `callUnary` needs of a method definition. */
interface UnaryMethod<Q, A> {
  path: string;
  requestSerialize(request: Q): Buffer;
  responseDeserialize(bytes: Buffer): A;
}

/** Decoding options equal to those the generated types were made with. */
export const protoOptions = {
  keepCase: false,
  longs: Number,
  enums: String,
  defaults: true,
  oneofs: true,
} as const;

/** The CRI service definitions, for the client here and for servers in tests. */
export function loadCriPackage(): ProtoGrpcType {
  const path = fileURLToPath(import.meta.resolve('#proto/cri/api.proto'));
  // The generated type describes exactly what this file decodes to.
  return loadPackageDefinition(loadSync(path, protoOptions)) as unknown as ProtoGrpcType;
}

/** Opens the clients of an endpoint such as unix:///run/containerd/containerd.sock. Connects on the first call. */
export function openCriChannel(endpoint: string): CriChannel {
  const { runtime } = loadCriPackage();
  const address = endpoint.startsWith('/') ? `unix://${endpoint}` : endpoint;
  const options = {
    'grpc.max_receive_message_length': maxMessageBytes,
    'grpc.max_send_message_length': maxMessageBytes,
    'grpc.default_authority': 'localhost',
    'grpc.max_reconnect_backoff_ms': 3000,
  };
  const runtimeClient = new runtime.v1.RuntimeService(address, credentials.createInsecure(), options);
  const imageClient = new runtime.v1.ImageService(address, credentials.createInsecure(), options);
  return {
    runtime: runtimeClient,
    runtimeMethods: runtime.v1.RuntimeService.service,
    image: imageClient,
    imageMethods: runtime.v1.ImageService.service,
    close: () => {
      runtimeClient.close();
      imageClient.close();
    },
  };
}

/** Makes one unary call of a service definition's method. */
export function callUnary<Q, A>(
  client: Client,
  method: UnaryMethod<Q, A>,
  request: Q,
  options: UnaryOptions = {},
): Promise<A> {
  const { timeoutMs, signal } = options;
  const name = method.path.slice(method.path.lastIndexOf('/') + 1);
  return new Promise<A>((resolve, reject) => {
    if (signal?.aborted) {
      reject(signal.reason);
      return;
    }
    const callOptions: CallOptions = timeoutMs === undefined ? {} : { deadline: Date.now() + timeoutMs };
    const finish = (error: ServiceError | null, answer?: A) => {
      signal?.removeEventListener('abort', cancel);
      if (signal?.aborted && error !== null) reject(signal.reason);
      else if (error !== null) reject(mapServiceError(name, error));
      else if (answer === undefined) reject(new Error(`${name} ended without an answer`));
      else resolve(answer);
    };
    const { path, requestSerialize, responseDeserialize } = method;
    const call = client.makeUnaryRequest(
      path,
      requestSerialize,
      responseDeserialize,
      request,
      new Metadata(),
      callOptions,
      finish,
    );
    const cancel = () => call.cancel();
    signal?.addEventListener('abort', cancel, { once: true });
  });
}

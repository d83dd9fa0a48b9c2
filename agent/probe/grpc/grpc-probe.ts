// A gRPC probe: grpc.health.v1.Health/Check answers SERVING. The two messages have one field each and are coded here.
import { Client, credentials, Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { failed, type ProbeResult, success } from '../probe-result.ts';

const serving = 1;
const statusNames = ['UNKNOWN', 'SERVING', 'NOT_SERVING', 'SERVICE_UNKNOWN'];

/** HealthCheckRequest { string service = 1; } */
function encodeRequest(service: string): Buffer {
  const name = Buffer.from(service);
  if (name.length === 0) return Buffer.alloc(0);
  const length: number[] = [];
  for (let rest = name.length; ; rest >>>= 7) {
    length.push(rest > 127 ? (rest & 127) | 128 : rest);
    if (rest <= 127) break;
  }
  return Buffer.concat([Buffer.from([0x0a, ...length]), name]);
}

/** HealthCheckResponse { ServingStatus status = 1; } */
function decodeResponse(bytes: Buffer): number {
  return bytes[0] === 0x08 ? (bytes[1] ?? 0) : 0;
}

function outcome(error: ServiceError | null, answer: number | undefined): ProbeResult {
  if (error !== null) {
    switch (error.code) {
      case status.UNIMPLEMENTED:
        return failed('error: this server does not implement the grpc health protocol (grpc.health.v1.Health)');
      case status.DEADLINE_EXCEEDED:
        return failed('timeout: health rpc did not complete within the time limit');
      default:
        return failed(`error: health rpc probe failed: ${error.message}`);
    }
  }
  if (answer === serving) return success;
  return failed(`service unhealthy (responded with "${statusNames[answer ?? 0] ?? answer}")`);
}

/** Asks the server once. */
export function probeGrpc(
  host: string,
  port: number,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const client = new Client(address, credentials.createInsecure(), { 'grpc.primary_user_agent': 'kube-probe/1.36' });
  return new Promise((resolve) => {
    const call = client.makeUnaryRequest(
      '/grpc.health.v1.Health/Check',
      encodeRequest,
      decodeResponse,
      service,
      new Metadata(),
      { deadline: Date.now() + timeoutMs },
      (error, answer) => {
        signal.removeEventListener('abort', stop);
        client.close();
        resolve(signal.aborted ? { result: 'error', output: 'stopped' } : outcome(error, answer));
      },
    );
    const stop = () => call.cancel();
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) stop();
  });
}

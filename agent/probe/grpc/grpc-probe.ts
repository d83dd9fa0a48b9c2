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

function outcome(error: ServiceError | null, answer: number | undefined, timeoutMs: number): ProbeResult {
  if (error !== null) {
    const name = Object.entries(status).find(([, code]) => code === error.code)?.[0] ?? 'UNKNOWN';
    switch (error.code) {
      case status.UNIMPLEMENTED:
        return failed(
          `error: this server does not implement the grpc health protocol (grpc.health.v1.Health): ${error.details}`,
        );
      case status.DEADLINE_EXCEEDED:
        return failed(`timeout: health rpc did not complete within ${timeoutMs / 1000}s`);
      default:
        return failed(`error: health rpc probe failed: rpc error: code = ${goCodeOf(name)} desc = ${error.details}`);
    }
  }
  if (answer === serving) return success;
  return failed(`service unhealthy (responded with "${statusNames[answer ?? 0] ?? answer}")`);
}

/** NOT_FOUND as NotFound. */
function goCodeOf(name: string): string {
  return name
    .split('_')
    .map((word) => word.slice(0, 1) + word.slice(1).toLowerCase())
    .join('');
}

/** Connects and asks the server once, both within the time limit. */
export function probeGrpc(
  host: string,
  port: number,
  service: string,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<ProbeResult> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  const client = new Client(address, credentials.createInsecure(), { 'grpc.primary_user_agent': 'kube-probe/1.36' });
  const deadline = Date.now() + timeoutMs;
  return new Promise((resolve) => {
    const finish = (result: ProbeResult) => {
      signal.removeEventListener('abort', stop);
      client.close();
      resolve(signal.aborted ? { result: 'error', output: 'stopped' } : result);
    };
    const stop = () => finish({ result: 'error', output: 'stopped' });
    signal.addEventListener('abort', stop, { once: true });
    if (signal.aborted) return stop();
    client.waitForReady(deadline, (unreachable) => {
      if (signal.aborted) return;
      if (unreachable !== undefined) {
        const what = `failed to connect service "${address}" within ${timeoutMs / 1000}s`;
        return finish(failed(`timeout: ${what}: context deadline exceeded`));
      }
      client.makeUnaryRequest(
        '/grpc.health.v1.Health/Check',
        encodeRequest,
        decodeResponse,
        service,
        new Metadata(),
        { deadline },
        (error, answer) => finish(outcome(error, answer, timeoutMs)),
      );
    });
  });
}

// A TCP probe: the port accepts a connection.
import { connect } from 'node:net';
import { dialErrorText, failed, type ProbeResult, success } from './probe-result.ts';

/** Opens and closes one connection. */
export function probeTcp(host: string, port: number, timeoutMs: number, signal: AbortSignal): Promise<ProbeResult> {
  const address = `${host.includes(':') ? `[${host}]` : host}:${port}`;
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    const finish = (result: ProbeResult) => {
      signal.removeEventListener('abort', stop);
      socket.destroy();
      resolve(result);
    };
    const stop = () => finish({ result: 'error', output: 'stopped' });
    signal.addEventListener('abort', stop, { once: true });
    socket.setTimeout(timeoutMs, () => finish(failed(`dial tcp ${address}: i/o timeout`)));
    socket.once('connect', () => finish(success));
    socket.once('error', (error) => finish(failed(dialErrorText(error, address))));
    if (signal.aborted) stop();
  });
}

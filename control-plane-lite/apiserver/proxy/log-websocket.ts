// A pod's log over WebSocket: what the agent sends becomes messages, as browsers and older clients read it.
// (Kubernetes: k8s.io/apimachinery/pkg/util/httpstream/wsstream, stream.go)
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { acceptWebSocket, HandshakeError, offeredProtocols } from '#kube/websocket/accept-websocket.ts';
import { createFlow } from '#kube/websocket/websocket-flow.ts';
import { badRequest } from '../../registry/status-errors.ts';

/** Subprotocol -> whether its messages are text in base64. */
const protocols: Readonly<Record<string, boolean>> = {
  '': false,
  'binary.k8s.io': false,
  'base64.binary.k8s.io': true,
};

/** The subprotocol to answer with. Throws StatusError when the client offers none that is known. */
export function selectLogProtocol(request: IncomingMessage): string {
  const offered = offeredProtocols(request);
  const [known] = (offered.length === 0 ? [''] : offered).filter((name) => name in protocols);
  if (known === undefined) throw badRequest(`none of the subprotocols ${offered.join(', ')} is known`);
  return known;
}

/** Resolves when the log has ended or the client has left. */
export async function sendLogMessages(
  log: IncomingMessage,
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<void> {
  const websocket = await acceptWebSocket(request, socket, head, protocol).catch((error: unknown) => {
    log.destroy();
    throw error instanceof HandshakeError ? badRequest(error.message) : error;
  });
  const send = createFlow(websocket, log);
  await new Promise<void>((resolve) => {
    websocket.on('error', () => websocket.terminate());
    websocket.on('close', () => {
      log.destroy();
      resolve();
    });
    log.on('data', (chunk: Buffer) => send(protocols[protocol] === true ? chunk.toString('base64') : chunk));
    log.on('error', () => websocket.terminate());
    log.on('end', () => websocket.close(1000));
  });
}

// Completes the handshake of a WebSocket whose request was already authorized.
import type { IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import type { WebSocket } from 'ws';

/** A handshake that is none. */
export class HandshakeError extends Error {
  readonly code = 'WEBSOCKET_HANDSHAKE';
  readonly status = 400;
}

/** Far above what clients put into one message. */
const maxMessageBytes = 32 * 1024 * 1024;

/** Subprotocols that the client offers, in its order. */
export function offeredProtocols(request: IncomingMessage): string[] {
  return (request.headers['sec-websocket-protocol'] ?? '')
    .split(',')
    .map((name) => name.trim())
    .filter((name) => name !== '');
}

export function isWebSocketRequest(request: IncomingMessage): boolean {
  return (request.headers.upgrade ?? '').toLowerCase() === 'websocket';
}

/** Answers the handshake with one subprotocol, or none where it is empty. Rejects with HandshakeError. */
export async function acceptWebSocket(
  request: IncomingMessage,
  socket: Duplex,
  head: Buffer,
  protocol: string,
): Promise<WebSocket> {
  // Loaded with the first stream: most nodes serve few.
  const { WebSocketServer } = await import('ws');
  const server = new WebSocketServer({
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: maxMessageBytes,
    handleProtocols: () => (protocol === '' ? false : protocol),
  });
  return new Promise((resolve, reject) => {
    server.once('wsClientError', (error) => reject(new HandshakeError(error.message, { cause: error })));
    server.handleUpgrade(request, socket, head, resolve);
  });
}

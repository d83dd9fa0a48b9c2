// A server of many ports, and a client for what busybox has none: runs in pods on the machine's files, and on nodes.
// `serve CONFIG` with CONFIG as JSON; `ask-udp HOST PORT [COUNT]`; `find TYPE NAME`, with resolv.conf on standard input.
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { Resolver } from 'node:dns/promises';
import { createServer as createHttp, type RequestListener, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { text } from 'node:stream/consumers';

export interface EchoConfig {
  /** What is answered on a port, over plain HTTP and over TLS. */
  http?: Record<string, string>;
  tls?: Record<string, string>;
  /** What is answered to a packet. */
  udp?: Record<string, string>;
  certificate?: { certPem: string; keyPem: string };
  /** Answers tell the method and the body as JSON. */
  isJson?: boolean;
}

function respond(body: string, isJson: boolean): RequestListener {
  return (request, response) => {
    const answer = isJson ? JSON.stringify({ Method: request.method, Body: body }) : body;
    const type = isJson ? 'application/json' : body.startsWith('<') ? 'text/html' : 'text/plain';
    response.writeHead(200, { 'content-type': type }).end(answer);
  };
}

/** Says the body as the first message to whoever opens a WebSocket. */
function greet(server: Server, body: string): Server {
  return server.on('upgrade', (request, socket) => {
    const key = `${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`;
    const accept = createHash('sha1').update(key).digest('base64');
    const head = ['HTTP/1.1 101 Switching Protocols', 'Connection: Upgrade', 'Upgrade: websocket'];
    socket.on('error', () => socket.destroy());
    socket.write(`${[...head, `Sec-WebSocket-Accept: ${accept}`].join('\r\n')}\r\n\r\n`);
    socket.write(Buffer.concat([Buffer.from([0x81, body.length]), Buffer.from(body)]));
  });
}

function serve({ http = {}, tls = {}, udp = {}, certificate, isJson = false }: EchoConfig): void {
  for (const [port, body] of Object.entries(http)) {
    greet(createHttp(respond(body, isJson)), body).listen(Number(port));
  }
  const keys = { cert: certificate?.certPem, key: certificate?.keyPem };
  for (const [port, body] of Object.entries(tls)) createHttps(keys, respond(body, isJson)).listen(Number(port));
  for (const [port, body] of Object.entries(udp)) {
    const socket = createSocket('udp4');
    socket.on('message', (_, peer) => socket.send(body, peer.port, peer.address));
    socket.bind(Number(port));
  }
}

/** One packet from a socket of its own; the answer, or `none`. */
function askUdp(host: string, port: number): Promise<string> {
  return new Promise((resolve) => {
    const socket = createSocket('udp4');
    const end = (answer: string): void => {
      clearTimeout(timer);
      socket.close();
      resolve(answer);
    };
    const timer = setTimeout(() => end('none'), 2_000);
    socket.on('message', (message) => end(message.toString()));
    socket.on('error', () => end('none'));
    socket.connect(port, host, () => socket.send('hostname'));
  });
}

/** Looks for a name as the C library does: in the domains of `search` first. */
async function find(type: string, name: string): Promise<unknown> {
  const lines = (await text(process.stdin)).split('\n').map((line) => line.trim().split(/\s+/));
  const valuesOf = (keyword: string) => lines.filter(([first]) => first === keyword).flatMap(([, ...rest]) => rest);
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  resolver.setServers(valuesOf('nameserver'));
  for (const domain of [...valuesOf('search'), '']) {
    const full = domain === '' ? name : `${name}.${domain}`;
    const found = await resolver.resolve(full, type).catch(() => undefined);
    if (found !== undefined) return found;
  }
  return [];
}

const [, , order, ...rest] = process.argv;
const [first = '', second = '', third = '1'] = rest;
if (order === 'serve') serve(JSON.parse(first) as EchoConfig);
else if (order === 'ask-udp') {
  const count = Number(third);
  const answers = await Promise.all(Array.from({ length: count }, () => askUdp(first, Number(second))));
  console.log([...new Set(answers)].sort().join('\n'));
} else if (order === 'find') console.log(JSON.stringify(await find(first.toUpperCase(), second)));

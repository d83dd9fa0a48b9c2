// The WebSocket subprotocols of exec and attach: several channels in one connection, each message behind the number
// of its channel. Pure. (Kubernetes: k8s.io/apimachinery/pkg/util/remotecommand and wsstream)

/** How messages of a subprotocol look. */
export interface ChannelProtocol {
  /** As negotiated; empty where the client asked for none. */
  name: string;
  /** Payloads are base64 in text messages, behind the digit of the channel. */
  base64: boolean;
  /** The end is told as a Status in JSON; before, as the text of a failure only. */
  statusObject: boolean;
  /** A client can end a channel by itself, which is how standard input ends before the command does. */
  closesChannels: boolean;
}

export const channels = { stdin: 0, stdout: 1, stderr: 2, error: 3, resize: 4 } as const;
const closeSignal = 255;

const protocols: readonly ChannelProtocol[] = [
  { name: 'v5.channel.k8s.io', base64: false, statusObject: true, closesChannels: true },
  { name: 'v4.channel.k8s.io', base64: false, statusObject: true, closesChannels: false },
  { name: 'v4.base64.channel.k8s.io', base64: true, statusObject: true, closesChannels: false },
  { name: 'channel.k8s.io', base64: false, statusObject: false, closesChannels: false },
  { name: 'base64.channel.k8s.io', base64: true, statusObject: false, closesChannels: false },
  { name: '', base64: false, statusObject: false, closesChannels: false },
];

/** The first subprotocol offered that is known; undefined when there is none. No offer means the oldest. */
export function selectChannelProtocol(offered: readonly string[]): ChannelProtocol | undefined {
  for (const name of offered.length === 0 ? [''] : offered) {
    const known = protocols.find((protocol) => protocol.name === name);
    if (known !== undefined) return known;
  }
  return undefined;
}

/** What a client says. */
export type ClientMessage = { type: 'data'; channel: number; data: Buffer } | { type: 'close'; channel: number };

/** Undefined for a message that says nothing. */
export function decodeMessage(protocol: ChannelProtocol, message: Buffer): ClientMessage | undefined {
  const [first] = message;
  if (first === undefined) return undefined;
  if (protocol.base64) {
    return { type: 'data', channel: first - 0x30, data: Buffer.from(message.subarray(1).toString('latin1'), 'base64') };
  }
  if (protocol.closesChannels && first === closeSignal) {
    const [, channel] = message;
    return channel === undefined ? undefined : { type: 'close', channel };
  }
  return { type: 'data', channel: first, data: message.subarray(1) };
}

/** A message to the client: text where the protocol is base64. */
export function encodeMessage(protocol: ChannelProtocol, channel: number, data: Buffer): Buffer | string {
  return protocol.base64 ? `${channel}${data.toString('base64')}` : Buffer.concat([Buffer.from([channel]), data]);
}

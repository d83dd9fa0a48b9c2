// The system's message bus (D-Bus): calls of methods and signals of others, over one connection that is opened with the
// first use and again when the bus was away. What was under way then fails; nothing is repeated.
import type { MessageBus } from 'dbus-native';

const systemAddress = 'unix:path=/run/dbus/system_bus_socket';

/** One call of a method. `body` has one value for each type of the signature; variants are [signature, value]. */
export interface BusCall {
  destination: string;
  path: string;
  interface: string;
  member: string;
  signature?: string;
  body?: unknown[];
}

/** Which signals to hear. */
export interface BusMatch {
  sender?: string;
  path?: string;
  interface: string;
  member: string;
}

/** An error that the other side answered with, or that the connection broke with. */
export class BusError extends Error {
  readonly code = 'BUS';
  /** As D-Bus names it, for example org.freedesktop.systemd1.NoSuchUnit. */
  readonly errorName: string;

  constructor(call: string, cause: Error) {
    super(`${call}: ${cause.message}`, { cause });
    this.name = 'BusError';
    const { dbusName } = cause as { dbusName?: unknown };
    this.errorName = typeof dbusName === 'string' ? dbusName : cause.name;
  }
}

export interface Bus {
  /** Returns the values of the answer. Throws BusError. */
  call(call: BusCall, signal?: AbortSignal): Promise<unknown[]>;
  /** Calls the listener for every such signal from now on; returns what ends that. */
  watch(match: BusMatch, listener: (body: unknown[]) => void): Promise<() => void>;
  close(): Promise<void>;
}

function rule({ sender, path, interface: name, member }: BusMatch): string {
  const parts = { type: 'signal', sender, path, interface: name, member };
  return Object.entries(parts)
    .flatMap(([key, value]) => (value === undefined ? [] : [`${key}='${value}'`]))
    .join(',');
}

/** Opens the system's bus, or the one at `address`, when it is first used. */
export function openBus(address = systemAddress): Bus {
  let client: Promise<MessageBus> | undefined;

  async function connect(): Promise<MessageBus> {
    // Loaded with the first use: most nodes without systemd's driver do without.
    // By its default: the bundle keeps no other name of a CommonJS module that is loaded late.
    const { default: dbus } = await import('dbus-native');
    const opened = dbus.createClient({ busAddress: address, reconnect: true, returnBigInt: false });
    // Calls that were under way are told by their own answers.
    opened.connection.on('error', () => undefined);
    opened.connection.stream.on('error', () => undefined);
    opened.on('reconnectError', () => undefined);
    return opened;
  }

  function connected(): Promise<MessageBus> {
    client ??= connect();
    return client;
  }

  return {
    async call(call, signal) {
      const bus = await connected();
      const { promise, resolve, reject } = Promise.withResolvers<unknown[]>();
      const { body, ...rest } = call;
      const message = { ...rest, ...(body === undefined ? {} : { body }) };
      const options = signal === undefined ? {} : { signal };
      bus.invoke(message, options, (error, ...values) => {
        if (error === null || error === undefined) resolve(values);
        else reject(new BusError(`${call.destination} ${call.member}`, error));
      });
      return promise;
    },
    async watch(match, listener) {
      const bus = await connected();
      const heard = (message: {
        interface?: string;
        member?: string;
        path?: string;
        signature?: string;
        body?: unknown[];
      }) => {
        if (message.interface !== match.interface || message.member !== match.member) return;
        if (match.path !== undefined && message.path !== match.path) return;
        listener(message.body ?? []);
      };
      bus.connection.on('message', heard);
      const subscription = await bus.watch(rule(match)).catch((error: unknown) => {
        bus.connection.removeListener('message', heard);
        throw new BusError(`watching ${match.interface}.${match.member}`, error as Error);
      });
      return () => {
        bus.connection.removeListener('message', heard);
        // A bus that is gone has forgotten it.
        subscription.remove().catch(() => undefined);
      };
    },
    async close() {
      const open = await client;
      client = undefined;
      await open?.close();
      // Also where it is away: ends the attempts to reach it again.
      open?.connection.end();
    },
  };
}

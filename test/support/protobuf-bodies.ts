// Protobuf bodies as stock clients write and read them: by the library's own reflection, apart from the server's code.
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';

export const protobufType = 'application/vnd.kubernetes.protobuf';

const data = new URL('../../control-plane-lite/apiserver/protobuf/data/kubernetes-api.json', import.meta.url);
const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(data, 'utf8')) as protobuf.INamespace);
const prefix = Buffer.from('k8s\0');
const meta = 'k8s.io.apimachinery.pkg.apis.meta.v1';
const packages: Record<string, string> = {
  v1: 'k8s.io.api.core.v1',
  'apps/v1': 'k8s.io.api.apps.v1',
  'coordination.k8s.io/v1': 'k8s.io.api.coordination.v1',
  'discovery.k8s.io/v1': 'k8s.io.api.discovery.v1',
  'events.k8s.io/v1': 'k8s.io.api.events.v1',
  'authentication.k8s.io/v1': 'k8s.io.api.authentication.v1',
  'authorization.k8s.io/v1': 'k8s.io.api.authorization.v1',
  'policy/v1': 'k8s.io.api.policy.v1',
  'autoscaling/v1': 'k8s.io.api.autoscaling.v1',
  'apidiscovery.k8s.io/v2': 'k8s.io.api.apidiscovery.v2',
  'meta.k8s.io/v1': meta,
};

// biome-ignore lint/suspicious/noExplicitAny: messages of every kind, read by tests.
export type Message = Record<string, any>;

export interface OpenedBody {
  apiVersion: string;
  kind: string;
  object: Message;
}

function typeOf(apiVersion: string, kind: string): protobuf.Type {
  const isMeta = /^(Status|DeleteOptions|API(Versions|GroupList|Group|ResourceList))$/.test(kind);
  return root.lookupType(`${isMeta ? meta : (packages[apiVersion] ?? 'none')}.${kind}`);
}

/** A body with an object given by its message's fields. */
export function protobufBody(apiVersion: string, kind: string, fields: object): Buffer {
  const type = typeOf(apiVersion, kind);
  const raw = type.encode(type.fromObject(fields)).finish();
  const envelope = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const bytes = envelope.encode(envelope.fromObject({ typeMeta: { apiVersion, kind }, raw })).finish();
  return Buffer.concat([prefix, bytes]);
}

/** What a body holds. Throws for what is no protobuf body. */
export function readProtobufBody(body: Buffer): OpenedBody {
  if (!body.subarray(0, prefix.length).equals(prefix)) throw new Error(`no protobuf: ${body.toString()}`);
  const envelope = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const unknown = envelope.toObject(envelope.decode(body.subarray(prefix.length)), { bytes: Buffer }) as Message;
  const { apiVersion, kind } = unknown['typeMeta'] as { apiVersion: string; kind: string };
  const type = typeOf(apiVersion, kind);
  return {
    apiVersion,
    kind,
    object: type.toObject(type.decode(unknown['raw'] as Buffer), { longs: Number }) as Message,
  };
}

export interface WatchFrame {
  type: string;
  body: OpenedBody;
}

/** The events in a stream's bytes, and what is left of one that is not whole yet. */
export function readFrames(bytes: Buffer): { frames: WatchFrame[]; rest: Buffer } {
  const event = root.lookupType(`${meta}.WatchEvent`);
  const frames: WatchFrame[] = [];
  let at = 0;
  while (bytes.length - at >= 4) {
    const end = at + 4 + bytes.readUInt32BE(at);
    if (end > bytes.length) break;
    const { type, object } = event.toObject(event.decode(bytes.subarray(at + 4, end)), { bytes: Buffer }) as Message;
    frames.push({ type: String(type), body: readProtobufBody((object as { raw: Buffer }).raw) });
    at = end;
  }
  return { frames, rest: bytes.subarray(at) };
}

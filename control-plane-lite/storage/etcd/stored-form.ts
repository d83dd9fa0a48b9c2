// Values as they lie in etcd, brought into the form that everything above reads: JSON with the revision up front. A stock
// API server writes protobuf in its envelope, or JSON without a revision.
import { objectBytes, serialiseAround, withRevision } from '../object-bytes.ts';

/** JSON's form of an object in the protobuf envelope. Throws for what cannot be decoded. */
export type DecodeStored = (value: Buffer) => Record<string, unknown>;

export interface StoredForm {
  value: Buffer;
  /** It would be stored otherwise today. */
  isForeign: boolean;
}

const envelope = Buffer.from('k8s\0');
/** As `serialiseAround` begins an object. */
const ownHead = /^\{(?:"kind":"[^"]*",)?(?:"apiVersion":"[^"]*",)?"metadata":\{"resourceVersion":"/;
const headBytes = 320;

function parseForeign(stored: Buffer, decode: DecodeStored | undefined): Record<string, unknown> | undefined {
  try {
    if (stored.subarray(0, envelope.length).equals(envelope)) return decode?.(stored);
    const parsed: unknown = stored[0] === 0x7b ? JSON.parse(stored.toString()) : undefined;
    return typeof parsed === 'object' && parsed !== null ? { ...parsed } : undefined;
  } catch {
    return undefined;
  }
}

/** What is no object stays as it is: etcd holds other things too. */
export function readStored(stored: Buffer, revision: number, decode: DecodeStored | undefined): StoredForm {
  if (ownHead.test(stored.toString('latin1', 0, headBytes))) {
    return { value: withRevision(stored, revision), isForeign: false };
  }
  const object = parseForeign(stored, decode);
  if (object === undefined) return { value: stored, isForeign: false };
  const { metadata, apiVersion, kind, ...rest } = object;
  const meta = typeof metadata === 'object' && metadata !== null ? metadata : {};
  const { head, tail } = serialiseAround({
    ...(typeof kind === 'string' ? { kind } : {}),
    ...(typeof apiVersion === 'string' ? { apiVersion } : {}),
    metadata: meta,
    ...rest,
  });
  return { value: objectBytes(head, revision, tail), isForeign: true };
}

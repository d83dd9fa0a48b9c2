// The stored form of an object: JSON with kind, apiVersion and then metadata.resourceVersion up front, so
// that a revision is put in without parsing. Nothing else ever serialises an object that is read back.
const marker = '"resourceVersion":"';
const markerBytes = Buffer.from(marker);

interface Serialisable {
  apiVersion?: string | undefined;
  kind?: string | undefined;
  metadata: object;
}

/** Splits an object into the JSON text before and after the digits of its resourceVersion. */
export function serialiseAround(object: Serialisable): { head: string; tail: string } {
  const { kind, apiVersion, metadata, ...rest } = object;
  const { resourceVersion: _, ...meta } = metadata as { resourceVersion?: string };
  const text = JSON.stringify({ kind, apiVersion, metadata: { resourceVersion: '', ...meta }, ...rest });
  const cut = text.indexOf(marker) + marker.length;
  return { head: text.slice(0, cut), tail: text.slice(cut) };
}

/** The bytes of an object at a revision, in memory of their own: one that is kept for long must not keep others. */
export function objectBytes(head: string, revision: number | '', tail: string): Buffer {
  const text = `${head}${revision}${tail}`;
  const bytes = Buffer.allocUnsafeSlow(Buffer.byteLength(text));
  bytes.write(text);
  return bytes;
}

/** The same object with another revision in it, or none; bytes that are no stored object stay as they are. */
export function withRevision(value: Buffer, revision: number | ''): Buffer {
  const at = value.indexOf(markerBytes);
  if (at < 0) return value;
  const start = at + markerBytes.length;
  const end = value.indexOf(0x22, start);
  return objectBytes(value.toString('utf8', 0, start), revision, value.toString('utf8', end));
}

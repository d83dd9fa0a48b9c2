// One record of the log: type, revision of the state it replaces, key, value. The log's key is the record's revision.

export interface LogRecord {
  type: 'put' | 'delete';
  /** 0: the key did not exist. */
  previousRevision: number;
  key: string;
  value: Buffer;
}

const headerBytes = 9;

/** Encodes a record: type (1), previous revision (6), key length (2), key, value. */
export function encodeRecord(record: LogRecord): Buffer {
  const keyBytes = Buffer.byteLength(record.key);
  const bytes = Buffer.allocUnsafe(headerBytes + keyBytes + record.value.length);
  bytes.writeUInt8(record.type === 'put' ? 1 : 2, 0);
  bytes.writeUIntBE(record.previousRevision, 1, 6);
  bytes.writeUInt16BE(keyBytes, 7);
  bytes.write(record.key, headerBytes, 'utf8');
  record.value.copy(bytes, headerBytes + keyBytes);
  return bytes;
}

/** Decodes what comes before the key. Throws for bytes that are no record. */
export function decodeHeader(bytes: Buffer): Pick<LogRecord, 'type' | 'previousRevision'> {
  const type = bytes.length < headerBytes ? 0 : bytes.readUInt8(0);
  if (type !== 1 && type !== 2) throw new Error(`a log record has the unknown type ${type}: the store is damaged`);
  return { type: type === 1 ? 'put' : 'delete', previousRevision: bytes.readUIntBE(1, 6) };
}

/** Decodes a record; `value` shares memory with `bytes`. Throws for bytes that are no record. */
export function decodeRecord(bytes: Buffer): LogRecord {
  const header = decodeHeader(bytes);
  const keyEnd = headerBytes + bytes.readUInt16BE(7);
  if (keyEnd > bytes.length) throw new Error('a log record ends within its key: the store is damaged');
  return { ...header, key: bytes.toString('utf8', headerBytes, keyEnd), value: bytes.subarray(keyEnd) };
}

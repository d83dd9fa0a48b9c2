// One line of a watch stream in JSON.

/** An event around the bytes of its object. */
export function jsonFrame(type: string, object: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`{"type":"${type}","object":`), object, Buffer.from('}\n')]);
}

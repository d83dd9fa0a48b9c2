// Splits a watch stream into lines and decodes each once, whatever the chunks' borders are.
import type { KubeObject } from '../api/resource.ts';
import type { WatchEvent } from './types.ts';

const newline = 10;

/** Complete lines of a byte stream. A line over several chunks is joined once, at its end. */
export async function* splitLines(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  let pending: Buffer[] = [];
  for await (const chunk of chunks) {
    const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.byteLength);
    let start = 0;
    for (let end = bytes.indexOf(newline); end >= 0; end = bytes.indexOf(newline, start)) {
      if (pending.length === 0) {
        if (end > start) yield bytes.toString('utf8', start, end);
      } else {
        pending.push(bytes.subarray(start, end));
        yield Buffer.concat(pending).toString('utf8');
        pending = [];
      }
      start = end + 1;
    }
    if (start < bytes.length) pending.push(bytes.subarray(start));
  }
  // A line cut off by the end of the stream is no event: the watcher resumes before it.
}

/** Decodes one line. Throws for anything that is not a watch event. */
export function decodeWatchEvent<T extends KubeObject>(line: string): WatchEvent<T> {
  const event: unknown = JSON.parse(line);
  if (typeof event === 'object' && event !== null && 'type' in event && 'object' in event) {
    const { type, object } = event;
    const known =
      type === 'ADDED' || type === 'MODIFIED' || type === 'DELETED' || type === 'BOOKMARK' || type === 'ERROR';
    if (known && typeof object === 'object' && object !== null) return event as WatchEvent<T>;
  }
  throw new Error(`not a watch event: ${line.slice(0, 200)}`);
}

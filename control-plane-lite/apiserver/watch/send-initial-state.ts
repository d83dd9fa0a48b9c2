// The state that a watch begins with, sent in slices: other requests are served in between, and no more waits in memory
// than the client is about to read.
import { setImmediate as otherWork } from 'node:timers/promises';
import type { StoredEntry } from '../../storage/backend.ts';
import type { Representer } from '../representer.ts';
import type { WatchSink } from './watch-sink.ts';

/** So many objects are framed at a stretch: a few milliseconds. */
const sliceSize = 256;

/** Writes every entry as an ADDED event. Resolves when the last is written, or the client has left. */
export async function sendInitialState(
  entries: readonly StoredEntry[],
  representer: Representer,
  sink: WatchSink,
): Promise<void> {
  for (let at = 0; at < entries.length && !sink.isClosed; at += sliceSize) {
    if (at > 0) await otherWork();
    const slice = entries.slice(at, at + sliceSize);
    sink.write(Buffer.concat(slice.map((entry) => representer.event('ADDED', entry))));
    await sink.drained();
  }
}

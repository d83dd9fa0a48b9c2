// What turns stored entries into the bytes of an answer: one per form and encoding.
import type { StoredEntry } from '../storage/backend.ts';

export interface Representer {
  contentType: string;
  /** The content type of a stream of events. */
  streamType: string;
  /** One object, as in get. */
  one(entry: StoredEntry): Buffer;
  /** A list; `listMeta` is the JSON of the list's metadata. */
  many(entries: readonly StoredEntry[], listMeta: string): Buffer | Promise<Buffer>;
  /** One event of a watch; the first of a stream of Tables carries the columns. */
  event(type: string, entry: StoredEntry): Buffer;
  /** An event with an object that is not stored: a bookmark, a failure. */
  frame(type: string, object: object): Buffer;
}

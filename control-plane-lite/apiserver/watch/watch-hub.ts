// Watch streams on the cache. Streams with the same selection share one watcher and the very bytes of each event:
// an event is framed once, however many watch it.
import type { StoredEntry } from '../../storage/backend.ts';
import type { Match, ResourceCache, WatchNotice } from '../../storage/cache/resource-cache.ts';

/** Receives framed events in order. */
export type FrameListener = (frames: Buffer) => void;

export interface WatchSelection {
  cache: ResourceCache;
  prefix: string;
  match: Match | undefined;
  /** Equal for streams that get equal frames; undefined for a stream of its own. */
  shareKey: string | undefined;
  /** The frame of an event. */
  encode(type: string, entry: StoredEntry): Buffer;
}

interface Channel {
  listeners: Set<FrameListener>;
  stop: () => void;
}

function frameNotices(notices: readonly WatchNotice[], encode: WatchSelection['encode']): Buffer {
  const frames = notices.map(({ type, entry }) => encode(type, entry));
  const [first] = frames;
  return frames.length === 1 && first !== undefined ? first : Buffer.concat(frames);
}

/** Opens watches and shares what can be shared. */
export class WatchHub {
  readonly #channels = new Map<string, Channel>();

  /**
   * Calls `listener` with every change after `afterRevision`. Returns how to stop.
   * Throws CompactedError or FutureRevisionError.
   */
  async open(selection: WatchSelection, afterRevision: number, listener: FrameListener): Promise<() => void> {
    const { cache, encode, shareKey } = selection;
    let stop = (): void => undefined;
    await cache.resume(selection, afterRevision, (notices) => {
      if (notices.length > 0) listener(frameNotices(notices, encode));
      stop =
        shareKey === undefined
          ? cache.follow(selection, (later) => listener(frameNotices(later, encode)))
          : this.#join(selection, shareKey, listener);
    });
    return stop;
  }

  #join(selection: WatchSelection, shareKey: string, listener: FrameListener): () => void {
    const channel = this.#channels.get(shareKey) ?? this.#openChannel(selection, shareKey);
    channel.listeners.add(listener);
    return () => {
      channel.listeners.delete(listener);
      if (channel.listeners.size > 0) return;
      channel.stop();
      if (this.#channels.get(shareKey) === channel) this.#channels.delete(shareKey);
    };
  }

  #openChannel(selection: WatchSelection, shareKey: string): Channel {
    const listeners = new Set<FrameListener>();
    const stop = selection.cache.follow(selection, (notices) => {
      const frames = frameNotices(notices, selection.encode);
      for (const listener of listeners) listener(frames);
    });
    const channel = { listeners, stop };
    this.#channels.set(shareKey, channel);
    return channel;
  }
}

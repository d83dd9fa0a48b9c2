// The list-watch protocol as a pure state machine: (state, what happened) -> (next state, what to store).
// The driver in reflector.ts only performs the request that a state stands for.
import type { Status } from '../api/generated/meta-v1.ts';
import type { KubeObject } from '../api/resource.ts';
import type { WatchEvent } from '../client/types.ts';

/** What the informer is doing. Each phase is one kind of request. */
export type ReflectorState<T> = { failures: number; streaming: boolean } & (
  | { phase: 'stream'; items: Map<string, T> }
  | { phase: 'list'; resourceVersion: '' | '0'; continueToken: string | undefined; items: T[] }
  | { phase: 'watch'; resourceVersion: string; quiet: boolean }
);

/** What happened to the request of the current state. */
export type ReflectorInput<T> =
  | { type: 'page'; items: T[]; resourceVersion: string; continueToken: string | undefined }
  | { type: 'event'; event: WatchEvent<T> }
  /** The server closed the stream. */
  | { type: 'ended' }
  /** `gone`: the revision is no longer held. `refused`: the server does not do this kind of request. */
  | { type: 'failed'; why: 'gone' | 'refused' | 'other' };

export type ReflectorEffect<T> =
  | { type: 'replace'; items: T[]; resourceVersion: string }
  | { type: 'set'; object: T; resourceVersion: string }
  | { type: 'delete'; object: T; resourceVersion: string }
  | { type: 'advance'; resourceVersion: string };

export interface ReflectorStep<T> {
  state: ReflectorState<T>;
  effect?: ReflectorEffect<T>;
  /** The current request is finished or useless: begin the one of `state`, after its backoff. */
  restart: boolean;
}

const initialEventsEnd = 'k8s.io/initial-events-end';

/** The first state: a streaming list, or an ordinary list where streaming is not wanted. */
export function initialReflectorState<T>(streaming: boolean): ReflectorState<T> {
  return begin({ failures: 0, streaming }, '0');
}

function begin<T>(
  { failures, streaming }: { failures: number; streaming: boolean },
  resourceVersion: '' | '0',
): ReflectorState<T> {
  if (streaming) return { failures, streaming, phase: 'stream', items: new Map() };
  return { failures, streaming, phase: 'list', resourceVersion, continueToken: undefined, items: [] };
}

function keyOf(object: KubeObject): string {
  return `${object.metadata.namespace ?? ''}/${object.metadata.name}`;
}

/** Revisions that are too old or, on a server that was restored, too new are both answered by listing again. */
function whyError({ code, details }: Status): 'gone' | 'other' {
  const tooLarge = details?.causes?.some(({ reason }) => reason === 'ResourceVersionTooLarge') ?? false;
  return code === 410 || tooLarge ? 'gone' : 'other';
}

function onStreamEvent<T extends KubeObject>(
  state: ReflectorState<T> & { phase: 'stream' },
  event: WatchEvent<T>,
): ReflectorStep<T> {
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      state.items.set(keyOf(event.object), event.object);
      return { state, restart: false };
    case 'DELETED':
      state.items.delete(keyOf(event.object));
      return { state, restart: false };
    case 'BOOKMARK': {
      if (event.object.metadata.annotations?.[initialEventsEnd] !== 'true') return { state, restart: false };
      const resourceVersion = event.object.metadata.resourceVersion ?? '';
      return {
        state: { phase: 'watch', resourceVersion, quiet: false, failures: 0, streaming: state.streaming },
        effect: { type: 'replace', items: [...state.items.values()], resourceVersion },
        restart: false,
      };
    }
    case 'ERROR':
      return onFailure(state, whyError(event.object));
    default:
      return event satisfies never;
  }
}

function onWatchEvent<T extends KubeObject>(
  state: ReflectorState<T> & { phase: 'watch' },
  event: WatchEvent<T>,
): ReflectorStep<T> {
  if (event.type === 'ERROR') return onFailure(state, whyError(event.object));
  const resourceVersion = event.object.metadata.resourceVersion ?? state.resourceVersion;
  const next = { ...state, resourceVersion, quiet: false, failures: 0 };
  switch (event.type) {
    case 'ADDED':
    case 'MODIFIED':
      return { state: next, effect: { type: 'set', object: event.object, resourceVersion }, restart: false };
    case 'DELETED':
      return { state: next, effect: { type: 'delete', object: event.object, resourceVersion }, restart: false };
    case 'BOOKMARK':
      return { state: next, effect: { type: 'advance', resourceVersion }, restart: false };
    default:
      return event satisfies never;
  }
}

function onFailure<T>(state: ReflectorState<T>, why: 'gone' | 'refused' | 'other'): ReflectorStep<T> {
  const failures = state.failures + 1;
  switch (state.phase) {
    case 'stream': {
      const streaming = why !== 'refused';
      return { state: begin({ failures: streaming ? failures : state.failures, streaming }, '0'), restart: true };
    }
    case 'list': {
      const next = begin<T>({ failures, streaming: false }, why === 'gone' ? '' : state.resourceVersion);
      return { state: { ...next, streaming: state.streaming }, restart: true };
    }
    case 'watch': {
      if (why !== 'gone') return { state: { ...state, failures, quiet: true }, restart: true };
      // A server that forgets revisions as soon as it has given them must not be listed in a tight loop.
      const counted = state.quiet ? failures : state.failures;
      return { state: begin({ failures: counted, streaming: state.streaming }, ''), restart: true };
    }
    default:
      return state satisfies never;
  }
}

/** One step of the protocol. */
export function stepReflector<T extends KubeObject>(
  state: ReflectorState<T>,
  input: ReflectorInput<T>,
): ReflectorStep<T> {
  switch (input.type) {
    case 'failed':
      return onFailure(state, input.why);
    case 'event':
      if (state.phase === 'stream') return onStreamEvent(state, input.event);
      if (state.phase === 'watch') return onWatchEvent(state, input.event);
      return { state, restart: true };
    case 'ended':
      if (state.phase !== 'watch') return onFailure(state, 'other');
      // A stream that closes without having said anything must not be reopened in a tight loop.
      return { state: { ...state, quiet: true, failures: state.quiet ? state.failures + 1 : 0 }, restart: true };
    case 'page': {
      if (state.phase !== 'list') return { state, restart: true };
      const items = state.items.length === 0 ? input.items : [...state.items, ...input.items];
      const { failures, streaming } = state;
      if (input.continueToken !== undefined && input.continueToken !== '') {
        return { state: { ...state, continueToken: input.continueToken, items }, restart: true };
      }
      return {
        state: { phase: 'watch', resourceVersion: input.resourceVersion, quiet: true, failures, streaming },
        effect: { type: 'replace', items, resourceVersion: input.resourceVersion },
        restart: true,
      };
    }
    default:
      return input satisfies never;
  }
}

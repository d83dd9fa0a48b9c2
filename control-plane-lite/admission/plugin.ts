// The contract of admission plugins: they see every write after authorization and before it is stored.
import type { KubeObject } from '#kube/api/resource.ts';
import type { ObjectReader } from '../registry/object-reader.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { ServedResource } from '../registry/resource-table.ts';
import type { Steps, Wait } from '../registry/steps.ts';
import type { Reinvocation } from './reinvocation.ts';

export interface AdmissionRequest {
  verb: 'create' | 'update' | 'delete' | 'connect';
  served: ServedResource;
  /** Empty for the object itself. */
  subresource: string;
  namespace: string;
  name: string;
  /** The object to be stored, or what was posted to a subresource; undefined for deletions. */
  object: KubeObject | undefined;
  /** The stored object that is replaced or deleted. */
  previous: KubeObject | undefined;
  context: RequestContext;
  objects: ObjectReader;
  /** The options of the request, as the client sent them. */
  options?: object;
  /** Set while plugins may change the object: who ran, and who is to run once more. */
  reinvocation?: Reinvocation;
}

/**
 * Both hooks throw StatusError to refuse the request. `mutate` edits `object` in place and runs before validation.
 * A plugin that asks others answers with what there is to wait for.
 */
export interface AdmissionPlugin {
  readonly name: string;
  mutate?(request: AdmissionRequest): Wait | undefined | void;
  /** Runs after validation; what it takes is given back by the function it returns when the write fails. */
  validate?(request: AdmissionRequest): (() => void) | undefined;
  /** Like `validate`, for plugins that ask others. */
  validateByAsking?(request: AdmissionRequest): Wait | undefined;
}

export interface Admission {
  mutate(request: AdmissionRequest): Steps<void>;
  validate(request: AdmissionRequest): Steps<() => void>;
}

function* runMutation(plugins: readonly AdmissionPlugin[], request: AdmissionRequest): Steps<void> {
  for (const plugin of plugins) {
    const wait = plugin.mutate?.(request);
    if (wait !== undefined) yield wait;
  }
}

/** Told of each step of each request: how long it took, and whether it refused. */
export type ObserveStep = (
  type: 'admit' | 'validate',
  request: AdmissionRequest,
  seconds: number,
  isRejected: boolean,
) => void;

function* observed<T>(
  type: 'admit' | 'validate',
  request: AdmissionRequest,
  steps: Steps<T>,
  observe: ObserveStep,
): Steps<T> {
  const startedMs = performance.now();
  let isRejected = true;
  try {
    const result = yield* steps;
    isRejected = false;
    return result;
  } finally {
    observe(type, request, (performance.now() - startedMs) / 1000, isRejected);
  }
}

/** Runs plugins in order; those that change objects a second time where a webhook or policy changed the object. */
export function chainAdmission(plugins: readonly AdmissionPlugin[], observe?: ObserveStep): Admission {
  const chain = runChain(plugins);
  if (observe === undefined) return chain;
  return {
    mutate: (request) => observed('admit', request, chain.mutate(request), observe),
    validate: (request) => observed('validate', request, chain.validate(request), observe),
  };
}

function runChain(plugins: readonly AdmissionPlugin[]): Admission {
  return {
    *mutate(request) {
      const reinvocation: Reinvocation = { isSecondRun: false, isWanted: false, plugins: new Map() };
      const first = { ...request, reinvocation };
      yield* runMutation(plugins, first);
      if (!reinvocation.isWanted) return;
      reinvocation.isSecondRun = true;
      yield* runMutation(plugins, first);
    },
    *validate(request) {
      const undos: (() => void)[] = [];
      const undoAll = () => {
        for (const undo of undos.splice(0).reverse()) undo();
      };
      try {
        for (const plugin of plugins) {
          const wait = plugin.validateByAsking?.(request);
          if (wait !== undefined) yield wait;
          const undo = plugin.validate?.(request);
          if (undo !== undefined) undos.push(undo);
        }
      } catch (error) {
        undoAll();
        throw error;
      }
      return undoAll;
    },
  };
}

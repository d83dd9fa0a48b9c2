// What makes a kind special in the write path. Kinds without a strategy of their own follow the general one.
import type { KubeObject } from '#kube/api/resource.ts';
import type { FieldError } from '#kube/errors/field-error.ts';
import type { ObjectReader } from './object-reader.ts';
import type { RequestContext } from './request-context.ts';
import type { Steps } from './steps.ts';

/** What strategies see of the request and the cluster. */
export interface StrategyContext extends RequestContext {
  objects: ObjectReader;
}

/**
 * Undoes what a hook took (an address, a port) when the write failed after it; kept by the write path
 * until the outcome is known.
 */
export type Undo = () => void;

/** Hooks run in the order they are declared here; all edit in place and may throw StatusError. */
export interface Strategy<T extends KubeObject = KubeObject> {
  /** Whether a PUT to a name that does not exist creates the object. */
  allowCreateOnUpdate?: boolean;
  /** Whether metadata.generation counts, for kinds that are not in the table of generations. */
  countsGenerations?: boolean;
  prepareCreate?(object: T, context: StrategyContext): void;
  /** `subresource` is empty for the object itself. */
  prepareUpdate?(object: T, previous: T, context: StrategyContext, subresource: string): void;
  /** After validation and admission: takes what must be unique in the cluster. Dry runs take nothing. */
  allocate?(object: T, previous: T | undefined, context: StrategyContext): Steps<{ errors: FieldError[]; undo: Undo }>;
  /** After the object is gone from the store. */
  released?(object: T): void;
  /** After a write: resolves when what the server keeps elsewhere about the object follows it. */
  settle?(object: T): Promise<void>;
  /** Grace period of a deletion in seconds, for kinds that end gracefully; undefined: deleted at once. */
  gracePeriodSeconds?(object: T, requested: number | undefined): number | undefined;
  /** Changes the object when its deletion begins but it stays. */
  beginDeletion?(object: T, context: StrategyContext): void;
  /** Throws StatusError when the object may not be deleted. */
  checkDelete?(object: T, context: StrategyContext): void;
}

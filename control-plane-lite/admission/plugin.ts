// The contract of admission plugins: they see every write after authorization and before it is stored.
import type { KubeObject } from '#kube/api/resource.ts';
import type { ObjectReader } from '../registry/object-reader.ts';
import type { RequestContext } from '../registry/request-context.ts';
import type { ServedResource } from '../registry/resource-table.ts';

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
}

/** Both hooks throw StatusError to refuse the request. `mutate` edits `object` in place and runs before validation. */
export interface AdmissionPlugin {
  readonly name: string;
  mutate?(request: AdmissionRequest): void;
  /** Runs after validation; what it takes is given back by the function it returns when the write fails. */
  validate?(request: AdmissionRequest): (() => void) | undefined;
}

export interface Admission {
  mutate(request: AdmissionRequest): void;
  validate(request: AdmissionRequest): () => void;
}

/** Runs plugins in order. */
export function chainAdmission(plugins: readonly AdmissionPlugin[]): Admission {
  return {
    mutate: (request) => {
      for (const plugin of plugins) plugin.mutate?.(request);
    },
    validate: (request) => {
      const undos: (() => void)[] = [];
      const undoAll = () => {
        for (const undo of undos.reverse()) undo();
      };
      try {
        for (const plugin of plugins) {
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

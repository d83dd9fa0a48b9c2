// Turns changes of Services and EndpointSlices into dirty service keys, each handed out once.
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { Informer } from '#kube/informer/types.ts';

export const slicesByService = 'service';

/** The index key of a slice: the Service it belongs to. */
export function serviceKeyOf(slice: EndpointSlice): string[] {
  const name = slice.metadata.labels?.['kubernetes.io/service-name'];
  return name === undefined ? [] : [`${slice.metadata.namespace}/${name}`];
}

/** What the tracker knows of one Service now. */
export interface TrackedService {
  service: Service | undefined;
  slices: EndpointSlice[];
}

/** When the newest change of an endpoint was triggered, for the programming latency metric. */
export interface DirtyServices {
  keys: Set<string>;
  triggeredAtMs: number[];
  /** Changes of objects, more than one of which may be of the same Service. */
  changes: ObjectChanges;
}

export interface ObjectChanges {
  services: number;
  endpoints: number;
}

export interface ServiceTracker {
  /** Takes the dirty keys away; later changes make new ones. */
  takeDirty(): DirtyServices;
  read(serviceKey: string): TrackedService;
  allKeys(): string[];
  /** Told on every change. */
  onDirty(callback: () => void): void;
}

const triggerTime = 'endpoints.kubernetes.io/last-change-trigger-time';

/** Follows both informers. The slices' informer must have the index `slicesByService`. */
export function createServiceTracker(services: Informer<Service>, slices: Informer<EndpointSlice>): ServiceTracker {
  let dirty = new Set<string>();
  let triggeredAtMs: number[] = [];
  let changes: ObjectChanges = { services: 0, endpoints: 0 };
  const callbacks: (() => void)[] = [];
  const mark = (key: string): void => {
    dirty.add(key);
    for (const callback of callbacks) callback();
  };
  const markService = (service: Service): void => {
    changes.services += 1;
    mark(objectKey(service));
  };
  const markSlice = (slice: EndpointSlice): void => {
    changes.endpoints += 1;
    for (const key of serviceKeyOf(slice)) {
      const at = Date.parse(slice.metadata.annotations?.[triggerTime] ?? '');
      if (!Number.isNaN(at)) triggeredAtMs.push(at);
      mark(key);
    }
  };
  services.subscribe({
    added: markService,
    updated: (_, service) => markService(service),
    deleted: markService,
  });
  slices.subscribe({
    added: markSlice,
    updated: (previous, slice) => {
      // A slice that moved to another Service changes both.
      for (const key of serviceKeyOf(previous)) mark(key);
      markSlice(slice);
    },
    deleted: markSlice,
  });
  return {
    takeDirty: () => {
      const taken = { keys: dirty, triggeredAtMs, changes };
      dirty = new Set();
      triggeredAtMs = [];
      changes = { services: 0, endpoints: 0 };
      return taken;
    },
    read: (key) => ({ service: services.get(key), slices: slices.byIndex(slicesByService, key) }),
    allKeys: () => services.list().map(objectKey),
    onDirty: (callback) => callbacks.push(callback),
  };
}

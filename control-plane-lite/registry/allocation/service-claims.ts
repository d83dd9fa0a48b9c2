// What several servers on one store must not give out twice: they take it in the store, before the service is written.
import type { Service } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Backend, StoredEntry } from '../../storage/backend.ts';
import { serialiseAround } from '../../storage/object-bytes.ts';
import { nodePortsOf } from './service-allocator.ts';

export interface ServiceOwner {
  namespace: string;
  name: string;
  uid: string;
}

/** Claims resolve with whether the owner has it now; giving back does nothing to what is another's. */
export interface ServiceClaims {
  claimAddress(address: string, owner: ServiceOwner): Promise<boolean>;
  unclaimAddress(address: string, owner: ServiceOwner): void;
  claimPort(port: number, owner: ServiceOwner): Promise<boolean>;
  unclaimPort(port: number, owner: ServiceOwner): void;
}

export type PortClaims = Pick<ServiceClaims, 'claimPort' | 'unclaimPort'>;

const prefix = '/registry/ranges/nodeports/';
/** A server may still be writing the service of a younger claim. */
const graceMs = 60_000;

interface Claim {
  metadata: { creationTimestamp: string };
  owner: ServiceOwner;
}

const parse = ({ value }: StoredEntry): Claim => JSON.parse(value.toString()) as Claim;

export interface PortClaimDeps {
  backend: Pick<Backend, 'transact' | 'range'>;
  clock: Pick<Clock, 'now'>;
  /** A claim that could not be given back is swept away later. */
  failed(error: unknown): void;
}

/** Node ports, one key for each. */
export function createPortClaims({ backend, clock, failed }: PortClaimDeps): PortClaims {
  return {
    claimPort: async (port, owner) => {
      const metadata = { creationTimestamp: formatTime(clock.now()) };
      const claim = serialiseAround({ apiVersion: 'v1', kind: 'NodePortClaim', metadata, owner } as object & Claim);
      const entry = await backend.transact(`${prefix}${port}`, (current) =>
        current === undefined ? { type: 'put', ...claim } : { type: 'none' },
      );
      return entry !== undefined && parse(entry).owner.uid === owner.uid;
    },
    unclaimPort: (port, owner) => {
      const isOwn = (current: StoredEntry | undefined) =>
        current !== undefined && parse(current).owner.uid === owner.uid;
      backend
        .transact(`${prefix}${port}`, (current) => (isOwn(current) ? { type: 'delete' } : { type: 'none' }))
        .catch(failed);
    },
  };
}

/** Gives back claims whose service was never written, or has gone without a server that saw it. */
export async function sweepPortClaims({ backend, clock }: PortClaimDeps, services: readonly Service[]): Promise<void> {
  const held = new Set(
    services.flatMap(({ metadata, spec }) => nodePortsOf(spec).map((port) => `${port}/${metadata.uid}`)),
  );
  const { entries } = await backend.range(prefix);
  for (const { key, revision, ...entry } of entries) {
    const { owner, metadata } = parse({ key, revision, ...entry });
    if (held.has(`${key.slice(prefix.length)}/${owner.uid}`)) continue;
    if (clock.now() - Date.parse(metadata.creationTimestamp) < graceMs) continue;
    await backend.transact(key, (current) => (current?.revision === revision ? { type: 'delete' } : { type: 'none' }));
  }
}

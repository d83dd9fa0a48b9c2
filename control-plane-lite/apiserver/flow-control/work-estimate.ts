// How many seats a request takes: one, or more for reads of many objects.
import type { RequestInfo } from '../http/request-info.ts';

const objectsPerSeat = 100;
const maxSeats = 10;

const isTrue = (value: string | null): boolean => value !== null && value !== 'false' && value !== '0';

/** `storedObjects` tells how many there are of the resource that is asked for. */
export function estimateSeats(info: RequestInfo, storedObjects: () => number): number {
  const isList = info.verb === 'list' || (info.verb === 'watch' && isTrue(info.query.get('sendInitialEvents') ?? null));
  // A list of one name reads one object.
  if (!isList || info.name !== '') return 1;
  const stored = storedObjects();
  const limit = Number(info.query.get('limit') ?? 0);
  const read = limit > 0 ? Math.min(limit, stored) : stored;
  return Math.min(Math.max(Math.ceil(read / objectsPerSeat), 1), maxSeats);
}

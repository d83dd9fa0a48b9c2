// The seats of one priority level and who waits for them: fair queuing by virtual time. Nothing here knows of clocks,
// timers or requests: the caller passes the time in, and starts what is returned.
import type { QueueConfig } from './flow-config.ts';
import { dealHand } from './shuffle-shard.ts';

export interface Ticket<T> {
  readonly item: T;
  readonly seats: number;
  readonly arrivedMs: number;
  state: 'waiting' | 'running' | 'over';
  startedMs: number;
  queue: Queue<T> | undefined;
}

interface Queue<T> {
  readonly index: number;
  waiting: Ticket<T>[];
  waitingSeats: number;
  seatsInUse: number;
  /** The virtual time at which the next request of the queue starts, in milliseconds of a seat. */
  nextStart: number;
}

export interface FairQueues<T> {
  /** Takes a request in. `started` are the tickets to start now, its own may be among them. */
  enter(hash: number, seats: number, item: T, nowMs: number): { ticket: Ticket<T> | undefined; started: Ticket<T>[] };
  /** The request is over, served or given up. Returns what starts in its place. */
  leave(ticket: Ticket<T>, nowMs: number): Ticket<T>[];
  setLimit(seats: number, nowMs: number): Ticket<T>[];
  readonly limit: number;
  readonly seatsInUse: number;
  readonly running: number;
  readonly waiting: number;
  readonly waitingSeats: number;
  /** Queues with requests in them, for dumps. */
  snapshot(): { index: number; waiting: number; seatsInUse: number; nextStart: number }[];
}

/** How long a request is taken to last before it is known. */
const estimatedMs = 3;

/** `queuing` undefined: what finds no seat is refused. */
export function createFairQueues<T>(queuing: QueueConfig | undefined, initialLimit: number): FairQueues<T> {
  /** Those in use: there may be millions, and few are ever needed. */
  const queues = new Map<number, Queue<T>>();
  let limit = initialLimit;
  let seatsInUse = 0;
  let running = 0;
  let waiting = 0;
  let waitingSeats = 0;
  let virtualNow = 0;
  let lastMs = 0;

  const advance = (nowMs: number) => {
    if (queues.size > 0 && nowMs > lastMs) {
      virtualNow += ((nowMs - lastMs) * Math.min(limit, seatsInUse + waitingSeats)) / queues.size;
    }
    lastMs = nowMs;
  };

  /** A request wider than the whole level runs when nothing else does. */
  const fits = (seats: number): boolean => (seats > limit ? seatsInUse === 0 : seatsInUse + seats <= limit);

  const start = (ticket: Ticket<T>, nowMs: number) => {
    ticket.state = 'running';
    ticket.startedMs = nowMs;
    seatsInUse += ticket.seats;
    running += 1;
    const { queue } = ticket;
    if (queue === undefined) return;
    queue.seatsInUse += ticket.seats;
    queue.nextStart += ticket.seats * estimatedMs;
  };

  /** The queue whose first request would be done first, were all served at once. */
  const nextQueue = (): Queue<T> | undefined => {
    let best: Queue<T> | undefined;
    let bestFinish = Number.POSITIVE_INFINITY;
    for (const queue of queues.values()) {
      const [first] = queue.waiting;
      if (first === undefined) continue;
      const finish = queue.nextStart + first.seats * estimatedMs;
      if (finish < bestFinish) [best, bestFinish] = [queue, finish];
    }
    return best;
  };

  const startWaiting = (nowMs: number): Ticket<T>[] => {
    const started: Ticket<T>[] = [];
    while (waiting > 0) {
      const queue = nextQueue();
      const [first] = queue?.waiting ?? [];
      if (queue === undefined || first === undefined || !fits(first.seats)) break;
      queue.waiting.shift();
      queue.waitingSeats -= first.seats;
      waiting -= 1;
      waitingSeats -= first.seats;
      start(first, nowMs);
      started.push(first);
    }
    return started;
  };

  const leastLoaded = (hash: number, { queues: count, handSize }: QueueConfig): Queue<T> | undefined => {
    const load = (queue: Queue<T>) => queue.waitingSeats + queue.seatsInUse;
    let best: Queue<T> | undefined;
    for (const index of dealHand(hash, count, handSize)) {
      const queue = queues.get(index) ?? { index, waiting: [], waitingSeats: 0, seatsInUse: 0, nextStart: 0 };
      if (load(queue) === 0) return queue;
      if (best === undefined || load(queue) < load(best)) best = queue;
    }
    return best;
  };

  const settle = (queue: Queue<T> | undefined) => {
    if (queue !== undefined && queue.waiting.length === 0 && queue.seatsInUse === 0) queues.delete(queue.index);
  };

  return {
    enter: (hash, seats, item, nowMs) => {
      advance(nowMs);
      const ticket: Ticket<T> = { item, seats, arrivedMs: nowMs, state: 'waiting', startedMs: 0, queue: undefined };
      if (queuing === undefined) {
        if (!fits(seats)) return { ticket: undefined, started: [] };
        start(ticket, nowMs);
        return { ticket, started: [ticket] };
      }
      const queue = leastLoaded(hash, queuing);
      if (queue === undefined) return { ticket: undefined, started: [] };
      if (queue.waiting.length >= queuing.queueLengthLimit && seatsInUse >= limit) {
        return { ticket: undefined, started: [] };
      }
      ticket.queue = queue;
      if (!queues.has(queue.index)) queue.nextStart = virtualNow;
      queues.set(queue.index, queue);
      queue.waiting.push(ticket);
      queue.waitingSeats += seats;
      waiting += 1;
      waitingSeats += seats;
      return { ticket, started: startWaiting(nowMs) };
    },
    leave: (ticket, nowMs) => {
      advance(nowMs);
      const { queue, seats } = ticket;
      if (ticket.state === 'running') {
        seatsInUse -= seats;
        running -= 1;
        if (queue !== undefined) {
          queue.seatsInUse -= seats;
          queue.nextStart += (nowMs - ticket.startedMs - estimatedMs) * seats;
        }
      } else if (ticket.state === 'waiting' && queue !== undefined) {
        queue.waiting = queue.waiting.filter((each) => each !== ticket);
        queue.waitingSeats -= seats;
        waiting -= 1;
        waitingSeats -= seats;
      }
      ticket.state = 'over';
      settle(queue);
      return startWaiting(nowMs);
    },
    setLimit: (seats, nowMs) => {
      advance(nowMs);
      limit = seats;
      return startWaiting(nowMs);
    },
    get limit() {
      return limit;
    },
    get seatsInUse() {
      return seatsInUse;
    },
    get running() {
      return running;
    },
    get waiting() {
      return waiting;
    },
    get waitingSeats() {
      return waitingSeats;
    },
    snapshot: () =>
      [...queues.values()].map(({ index, waiting: line, seatsInUse: seats, nextStart }) => ({
        index,
        waiting: line.length,
        seatsInUse: seats,
        nextStart,
      })),
  };
}

// How many seats a level wanted over a period: the highest, and an average that forgets slowly.

export interface SeatDemand {
  /** Notes what is wanted from now on. */
  note(seats: number, nowMs: number): void;
  /** Ends a period and begins the next. */
  take(nowMs: number): { highSeats: number; smoothSeats: number };
}

/** The part of what was before that a period keeps, as in the reference. */
const keep = 0.977;

export function createSeatDemand(startMs: number): SeatDemand {
  let wanted = 0;
  let sinceMs = startMs;
  let beganMs = startMs;
  let sum = 0;
  let squares = 0;
  let high = 0;
  let smooth = 0;
  const pass = (nowMs: number) => {
    const passedMs = Math.max(0, nowMs - sinceMs);
    sum += wanted * passedMs;
    squares += wanted * wanted * passedMs;
    sinceMs = nowMs;
  };
  return {
    note: (seats, nowMs) => {
      pass(nowMs);
      wanted = seats;
      high = Math.max(high, seats);
    },
    take: (nowMs) => {
      pass(nowMs);
      const periodMs = nowMs - beganMs;
      const average = periodMs > 0 ? sum / periodMs : wanted;
      const variance = periodMs > 0 ? Math.max(0, squares / periodMs - average * average) : 0;
      const envelope = average + Math.sqrt(variance);
      smooth = Math.max(envelope, keep * smooth + (1 - keep) * envelope);
      const taken = { highSeats: high, smoothSeats: smooth };
      [sum, squares, high, beganMs] = [0, 0, wanted, nowMs];
      return taken;
    },
  };
}

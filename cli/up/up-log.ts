// The log of `berth up`: the supervising process and its workers append to one file.
import { join } from 'node:path';
import { type Logger, pino } from 'pino';
import type { ClusterLayout } from './layout.ts';

/** Opens the log; every line is written at once. */
export function openUpLog(layout: Pick<ClusterLayout, 'logDir'>): Logger {
  return pino(
    { base: { component: 'up' } },
    pino.destination({ dest: join(layout.logDir, 'up.log'), mkdir: true, sync: true }),
  );
}

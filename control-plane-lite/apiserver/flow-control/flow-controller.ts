// Priority and fairness: each request is given to the level of its flow schema, waits there for seats, and leaves when it
// is answered. What decides is pure and lies beside; here are the timers, the counters and the configuration at hand.
import type { FlowSchema } from '#kube/api/generated/flowcontrol-v1.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import type { Exchange } from '../http/exchange.ts';
import { isLongRunning } from '../http/long-running.ts';
import type { RequestInfo } from '../http/request-info.ts';
import { planCurrentLimits, planNominalLimits } from './concurrency-limits.ts';
import type { Ticket } from './fair-queues.ts';
import type { FlowConfig } from './flow-config.ts';
import type { FlowMetrics } from './flow-metrics.ts';
import { tooManyRequests } from './in-flight-limit.ts';
import { createLevel, keepsQueues, type Level, type Waiter } from './level.ts';
import { distinguisherOf, matchFlow } from './match-flow.ts';
import type { Leave, RequestLimit } from './request-limit.ts';
import { hashFlow } from './shuffle-shard.ts';
import type { Turns } from './turns.ts';
import { estimateSeats } from './work-estimate.ts';

export interface FlowControllerDeps {
  totalSeats: number;
  /** The configuration as it is stored now; read anew after `invalidate`. */
  readConfig(): FlowConfig;
  storedObjects(info: RequestInfo): number;
  metrics: FlowMetrics;
  turns: Turns;
  nowMs(): number;
}

export interface FlowController extends RequestLimit {
  /** The configuration has changed. */
  invalidate(): void;
  /** Moves seats to where they are wanted; to be called every ten seconds. */
  adjust(): void;
  levels(): readonly Level[];
  /** Requests that have seats or wait for them. */
  requests(): readonly { level: Level; ticket: Ticket<Waiter> }[];
}

/** A request that waits longer than this has most of its own deadline behind it. */
const longestWaitMs = 15_000;

interface Classified {
  schema: FlowSchema;
  level: Level;
}

/** Follows the configuration and lets requests in by it. */
export function createFlowController(deps: FlowControllerDeps): FlowController {
  const { metrics, nowMs, totalSeats } = deps;
  let config: FlowConfig | undefined;
  let levels = new Map<string, Level>();
  const tickets = new Map<Ticket<Waiter>, Level>();

  const startAll = (started: readonly Ticket<Waiter>[]) => {
    for (const ticket of started) ticket.item.start();
  };

  const refresh = (): FlowConfig => {
    const read = deps.readConfig();
    const limits = planNominalLimits(read.levels.values(), totalSeats);
    const next = new Map<string, Level>();
    for (const [name, levelConfig] of read.levels) {
      const nominal = limits.get(name) ?? { nominal: 0, lower: 0, upper: totalSeats };
      const known = levels.get(name);
      if (known !== undefined && keepsQueues(known.config, levelConfig)) {
        const isChanged = known.limits.nominal !== nominal.nominal;
        known.config = levelConfig;
        known.limits = nominal;
        if (isChanged) startAll(known.queues.setLimit(nominal.nominal, nowMs()));
        next.set(name, known);
      } else next.set(name, createLevel(levelConfig, nominal, nowMs()));
    }
    levels = next;
    config = read;
    return read;
  };

  const classify = (info: RequestInfo, user: UserInfo): Classified | undefined => {
    const { schemas } = config ?? refresh();
    const schema = matchFlow(schemas, info, user) ?? schemas.find(({ metadata }) => metadata.name === 'catch-all');
    const level = schema === undefined ? undefined : levels.get(schema.spec.priorityLevelConfiguration.name);
    return schema === undefined || level === undefined ? undefined : { schema, level };
  };

  const noteDemand = ({ demand, queues }: Level) => demand.note(queues.seatsInUse + queues.waitingSeats, nowMs());

  const enterExempt = (level: Level, schema: FlowSchema, seats: number): Leave | Promise<Leave> => {
    level.exemptRunning += 1;
    level.counts.dispatched += 1;
    metrics.dispatched(level.config.name, schema.metadata.name, undefined);
    let isIn = true;
    const leave = () => {
      if (isIn) level.exemptRunning -= 1;
      isIn = false;
    };
    return seats > 1 ? deps.turns.wait(level.config.name).then(() => leave) : leave;
  };

  const enterLimited = (exchange: Exchange, { schema, level }: Classified, seats: number): Leave | Promise<Leave> => {
    const { info, user, response } = exchange;
    const names = [level.config.name, schema.metadata.name] as const;
    const distinguisher = distinguisherOf(schema, info, user);
    const running = Promise.withResolvers<void>();
    const hash = hashFlow(schema.metadata.name, distinguisher);
    const { username } = user;
    const item = { schema, distinguisher, username, verb: info.verb, path: info.path, start: running.resolve };
    const arrivedMs = nowMs();
    const { ticket, started } = level.queues.enter(hash, seats, item, arrivedMs);
    noteDemand(level);
    if (ticket === undefined) {
      level.counts.rejected += 1;
      metrics.rejected(...names, level.config.queuing === undefined ? 'concurrency-limit' : 'queue-full');
      throw tooManyRequests();
    }
    tickets.set(ticket, level);
    const leave = () => {
      if (!tickets.delete(ticket)) return;
      metrics.executed(...names, nowMs() - ticket.startedMs);
      startAll(level.queues.leave(ticket, nowMs()));
      noteDemand(level);
    };
    const giveUp = () => {
      tickets.delete(ticket);
      startAll(level.queues.leave(ticket, nowMs()));
      noteDemand(level);
    };
    startAll(started);
    const begin = (): Leave | Promise<Leave> => {
      level.counts.dispatched += 1;
      metrics.dispatched(...names, nowMs() - arrivedMs);
      return seats > 1 ? deps.turns.wait(level.config.name).then(() => leave) : leave;
    };
    if (ticket.state === 'running') return begin();
    return new Promise<Leave>((resolve, reject) => {
      const refuse = (reason: 'time-out' | 'cancelled') => {
        if (ticket.state !== 'waiting') return;
        clearTimeout(timer);
        level.counts[reason === 'time-out' ? 'timedOut' : 'cancelled'] += 1;
        metrics.rejected(...names, reason);
        giveUp();
        reject(tooManyRequests());
      };
      const onClose = () => refuse('cancelled');
      const timer = setTimeout(() => refuse('time-out'), longestWaitMs);
      response.once('close', onClose);
      void running.promise.then(() => {
        clearTimeout(timer);
        response.off('close', onClose);
        resolve(begin());
      });
    });
  };

  return {
    enter: (exchange) => {
      const { info, user } = exchange;
      const isWatch = info.verb === 'watch';
      if (isLongRunning(info) && !isWatch) return () => undefined;
      const classified = classify(info, user);
      if (classified === undefined) return () => undefined;
      const { schema, level } = classified;
      exchange.flow = { schemaUid: schema.metadata.uid ?? '', levelUid: level.config.uid };
      const seats = info.isResource ? estimateSeats(info, () => deps.storedObjects(info)) : 1;
      return level.config.isExempt ? enterExempt(level, schema, seats) : enterLimited(exchange, classified, seats);
    },
    invalidate: () => {
      config = undefined;
    },
    adjust: () => {
      if (config === undefined) refresh();
      const limited = [...levels.values()].filter((level) => !level.config.isExempt);
      const demands = limited.map((level) => ({
        name: level.config.name,
        ...level.limits,
        ...level.demand.take(nowMs()),
      }));
      const planned = planCurrentLimits(demands, totalSeats);
      for (const level of limited) {
        const seats = planned.get(level.config.name) ?? level.limits.nominal;
        if (seats !== level.queues.limit) startAll(level.queues.setLimit(seats, nowMs()));
      }
    },
    levels: () => {
      if (config === undefined) refresh();
      return [...levels.values()];
    },
    requests: () => [...tickets].map(([ticket, level]) => ({ level, ticket })),
  };
}

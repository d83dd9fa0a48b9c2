// /debug/api_priority_and_fairness: who has seats and who waits, in the reference's columns.
import { sendText } from '../http/exchange.ts';
import type { PathHandler } from '../non-resource.ts';
import type { FlowController } from './flow-controller.ts';

const root = '/debug/api_priority_and_fairness/';

const table = (rows: readonly (readonly unknown[])[]): string =>
  rows.map((row) => `${row.map(String).join(', ')}\n`).join('');

function dumpLevels(flows: FlowController): string {
  const head = [
    'PriorityLevelName',
    'ActiveQueues',
    'IsIdle',
    'IsQuiescing',
    'WaitingRequests',
    'ExecutingRequests',
    'DispatchedRequests',
    'RejectedRequests',
    'TimedoutRequests',
    'CancelledRequests',
  ];
  const rows = flows.levels().map(({ config, queues, counts, exemptRunning }) => {
    const running = queues.running + exemptRunning;
    const active = queues.snapshot().length;
    const now = [active, running + queues.waiting === 0, false, queues.waiting, running];
    return [config.name, ...now, counts.dispatched, counts.rejected, counts.timedOut, counts.cancelled];
  });
  return table([head, ...rows]);
}

function dumpQueues(flows: FlowController): string {
  const head = ['PriorityLevelName', 'Index', 'PendingRequests', 'SeatsInUse', 'NextDispatchR'];
  const rows = flows
    .levels()
    .flatMap(({ config, queues }) =>
      queues
        .snapshot()
        .map(({ index, waiting, seatsInUse, nextStart }) => [
          config.name,
          index,
          waiting,
          seatsInUse,
          `${(nextStart / 1000).toFixed(8)}ss`,
        ]),
    );
  return table([head, ...rows]);
}

function dumpRequests(flows: FlowController): string {
  const head = [
    'PriorityLevelName',
    'FlowSchemaName',
    'FlowDistinguisher',
    'UserName',
    'Verb',
    'APIPath',
    'Seats',
    'State',
    'ArriveTime',
  ];
  const rows = flows
    .requests()
    .map(({ level, ticket: { item, seats, state, arrivedMs } }) => [
      level.config.name,
      item.schema.metadata.name,
      item.distinguisher,
      item.username,
      item.verb,
      item.path,
      seats,
      state,
      new Date(arrivedMs).toISOString(),
    ]);
  return table([head, ...rows]);
}

const dumps: Readonly<Record<string, (flows: FlowController) => string>> = {
  dump_priority_levels: dumpLevels,
  dump_queues: dumpQueues,
  dump_requests: dumpRequests,
};

/** Serves the dumps. */
export function createFlowDumps(flows: FlowController): PathHandler {
  return (exchange) => {
    const { path } = exchange.info;
    const name = path.startsWith(root) ? path.slice(root.length) : '';
    const dump = Object.hasOwn(dumps, name) ? dumps[name] : undefined;
    if (dump === undefined) return false;
    sendText(exchange, 200, dump(flows));
    return true;
  };
}

// Priority and fairness: which level a request falls to, how seats are shared, who waits and who goes next.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  planCurrentLimits,
  planNominalLimits,
} from '../../../control-plane-lite/apiserver/flow-control/concurrency-limits.ts';
import { createFairQueues, type Ticket } from '../../../control-plane-lite/apiserver/flow-control/fair-queues.ts';
import { planFlowConfig } from '../../../control-plane-lite/apiserver/flow-control/flow-config.ts';
import { distinguisherOf, matchFlow } from '../../../control-plane-lite/apiserver/flow-control/match-flow.ts';
import { createSeatDemand } from '../../../control-plane-lite/apiserver/flow-control/seat-demand.ts';
import { dealHand, hashFlow } from '../../../control-plane-lite/apiserver/flow-control/shuffle-shard.ts';
import { createTurns } from '../../../control-plane-lite/apiserver/flow-control/turns.ts';
import { estimateSeats } from '../../../control-plane-lite/apiserver/flow-control/work-estimate.ts';
import { parseRequestInfo } from '../../../control-plane-lite/apiserver/http/request-info.ts';
import { loadBootstrapObjects } from '../../support/bootstrap-flows.ts';

const { flowSchemas, priorityLevels } = loadBootstrapObjects();
const config = planFlowConfig(flowSchemas, priorityLevels);
const user = (username: string, ...groups: string[]) => ({ username, groups: [...groups, 'system:authenticated'] });
const account = (namespace: string, name: string) =>
  user(`system:serviceaccount:${namespace}:${name}`, 'system:serviceaccounts', `system:serviceaccounts:${namespace}`);

const lease = '/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/a';
const leader = '/apis/coordination.k8s.io/v1/namespaces/kube-system/leases/kube-scheduler';

describe('the flow schemas of a new cluster', () => {
  const cases: [string, string, string, ReturnType<typeof user>, string][] = [
    ['an administrator', 'GET', '/api/v1/pods', user('kubernetes-admin', 'system:masters'), 'exempt'],
    ['a probe', 'GET', '/healthz', { username: 'system:anonymous', groups: ['system:unauthenticated'] }, 'probes'],
    ["a node's lease", 'PUT', lease, user('system:node:a', 'system:nodes'), 'system-node-high'],
    ["a node's status", 'PATCH', '/api/v1/nodes/a/status', user('system:node:a', 'system:nodes'), 'system-node-high'],
    ["a node's pods", 'GET', '/api/v1/pods', user('system:node:a', 'system:nodes'), 'system-nodes'],
    ['a leader', 'PUT', leader, user('system:kube-scheduler'), 'system-leader-election'],
    ['the scheduler', 'GET', '/api/v1/pods', user('system:kube-scheduler'), 'kube-scheduler'],
    ['a controller', 'GET', '/api/v1/pods', account('kube-system', 'job-controller'), 'kube-system-service-accounts'],
    ['an account', 'GET', '/api/v1/pods', account('default', 'default'), 'service-accounts'],
    ['a person', 'GET', '/api/v1/pods', user('jane'), 'global-default'],
    ['nobody in particular', 'GET', '/api', { username: 'x', groups: [] }, 'none'],
  ];
  for (const [who, method, url, as, wanted] of cases) {
    it(`take ${who} to ${wanted}`, () => {
      const info = parseRequestInfo(method, url);
      assert.equal(matchFlow(config.schemas, info, as)?.metadata.name ?? 'none', wanted);
    });
  }

  it('tell flows apart by user or by namespace', () => {
    const info = parseRequestInfo('GET', '/api/v1/namespaces/web/pods');
    const of = (who: ReturnType<typeof user>) => {
      const schema = matchFlow(config.schemas, info, who);
      return schema === undefined ? undefined : distinguisherOf(schema, info, who);
    };
    assert.equal(of(user('jane')), 'jane');
    assert.equal(of(account('kube-system', 'x')), 'web');
  });

  it('leave out schemas of levels that do not exist, and keep the mandatory ones', () => {
    const lost = planFlowConfig(
      flowSchemas.filter(({ metadata }) => metadata.name !== 'catch-all'),
      priorityLevels.filter(({ metadata }) => metadata.name !== 'node-high'),
    );
    const names = lost.schemas.map(({ metadata }) => metadata.name);
    assert.ok(!names.includes('system-node-high'));
    assert.equal(names.at(-1), 'catch-all');
  });
});

describe('seats', () => {
  it('are shared out as the reference does', () => {
    const limits = planNominalLimits(config.levels.values(), 600);
    const nominal = Object.fromEntries([...limits].map(([name, { nominal: seats }]) => [name, seats]));
    assert.deepEqual(nominal, {
      'catch-all': 13,
      exempt: 0,
      'global-default': 49,
      'leader-election': 25,
      'node-high': 98,
      system: 74,
      'workload-high': 98,
      'workload-low': 245,
    });
    assert.deepEqual(limits.get('workload-low'), { nominal: 245, lower: 24, upper: 600 });
    assert.deepEqual(limits.get('leader-election'), { nominal: 25, lower: 25, upper: 600 });
  });

  it('move to a busy level from levels that lend, and back', () => {
    const limits = planNominalLimits(config.levels.values(), 600);
    const demand = (name: string, highSeats: number, smoothSeats: number) => {
      const limit = limits.get(name);
      assert.ok(limit !== undefined);
      return { name, ...limit, highSeats, smoothSeats };
    };
    const names = [
      'catch-all',
      'global-default',
      'leader-election',
      'node-high',
      'system',
      'workload-high',
      'workload-low',
    ];
    const busy = planCurrentLimits(
      names.map((name) => demand(name, name === 'global-default' ? 400 : 1, name === 'global-default' ? 400 : 0.1)),
      600,
    );
    assert.ok((busy.get('global-default') ?? 0) > 300, String(busy.get('global-default')));
    assert.ok((busy.get('leader-election') ?? 0) >= 25);
    assert.ok((busy.get('node-high') ?? 0) >= 73);
    const total = [...busy.values()].reduce((sum, seats) => sum + seats, 0);
    assert.ok(Math.abs(total - 600) <= names.length, String(total));
  });

  it('are wanted by what was highest and by an average that forgets slowly', () => {
    const demand = createSeatDemand(0);
    demand.note(10, 0);
    demand.note(0, 5000);
    const { highSeats, smoothSeats } = demand.take(10_000);
    assert.deepEqual([highSeats, Math.round(smoothSeats)], [10, 10]);
    const later = demand.take(20_000);
    assert.equal(later.highSeats, 0);
    assert.ok(later.smoothSeats > 9 && later.smoothSeats < 10);
  });

  it('are more for reads of many objects', () => {
    const seats = (url: string, stored: number) => estimateSeats(parseRequestInfo('GET', url), () => stored);
    assert.equal(seats('/api/v1/pods', 50), 1);
    assert.equal(seats('/api/v1/pods', 450), 5);
    assert.equal(seats('/api/v1/pods', 50_000), 10);
    assert.equal(seats('/api/v1/pods?limit=200', 50_000), 2);
    assert.equal(seats('/api/v1/pods?watch=1', 50_000), 1);
    assert.equal(seats('/api/v1/pods?watch=1&sendInitialEvents=true', 50_000), 10);
    assert.equal(seats('/api/v1/pods?fieldSelector=metadata.name%3Da', 50_000), 1);
    assert.equal(seats('/api/v1/namespaces/a/pods/b', 50_000), 1);
  });
});

describe('hands of queues', () => {
  it('are different queues, the same for the same flow', () => {
    for (let flow = 0; flow < 200; flow += 1) {
      const hand = dealHand(hashFlow('schema', `user-${flow}`), 128, 6);
      assert.equal(new Set(hand).size, 6);
      assert.ok(hand.every((index) => index >= 0 && index < 128));
      assert.deepEqual(hand, dealHand(hashFlow('schema', `user-${flow}`), 128, 6));
    }
    assert.deepEqual(dealHand(5, 4, 8).sort(), [0, 1, 2, 3]);
  });

  it('leave a flow a queue of its own beside a few heavy ones', () => {
    const heavy = new Set(['a', 'b', 'c', 'd'].flatMap((name) => dealHand(hashFlow('s', name), 128, 6)));
    const blocked = Array.from({ length: 500 }, (_, index) => dealHand(hashFlow('s', `user-${index}`), 128, 6)).filter(
      (hand) => hand.every((index) => heavy.has(index)),
    );
    assert.ok(blocked.length < 5, String(blocked.length));
  });
});

describe('fair queues', () => {
  const queuing = { queues: 64, handSize: 6, queueLengthLimit: 50 };
  const names = (tickets: readonly Ticket<string>[]) => tickets.map(({ item }) => item);

  it('let requests in while there are seats, and the next when one leaves', () => {
    const queues = createFairQueues<string>(queuing, 2);
    const first = queues.enter(1, 1, 'a', 0);
    assert.deepEqual(names(first.started), ['a']);
    assert.deepEqual(names(queues.enter(1, 1, 'b', 0).started), ['b']);
    assert.deepEqual(names(queues.enter(1, 1, 'c', 0).started), []);
    assert.equal(queues.waiting, 1);
    assert.ok(first.ticket !== undefined);
    assert.deepEqual(names(queues.leave(first.ticket, 10)), ['c']);
    assert.deepEqual([queues.running, queues.waiting, queues.seatsInUse], [2, 0, 2]);
    assert.deepEqual(names(queues.leave(first.ticket, 10)), []);
  });

  it('serve a light flow soon, however long the line of a heavy one', () => {
    const queues = createFairQueues<string>(queuing, 1);
    const [heavy, light] = [hashFlow('s', 'heavy'), hashFlow('s', 'light')];
    let current = queues.enter(heavy, 1, 'first', 0).ticket;
    for (let index = 0; index < 40; index += 1) queues.enter(heavy, 1, `heavy-${index}`, 0);
    queues.enter(light, 1, 'light', 1);
    const order: string[] = [];
    for (let now = 100; current !== undefined && order.length < 41; now += 100) {
      [current] = queues.leave(current, now);
      if (current !== undefined) order.push(current.item);
    }
    assert.ok(order.indexOf('light') < 7, `after ${order.indexOf('light')} of the heavy flow`);
    assert.equal(order.length, 41);
  });

  it('refuse what finds its queue full, and what finds no seat where nothing queues', () => {
    const short = createFairQueues<string>({ queues: 1, handSize: 1, queueLengthLimit: 2 }, 1);
    assert.ok(short.enter(1, 1, 'runs', 0).ticket !== undefined);
    assert.ok(short.enter(1, 1, 'waits', 0).ticket !== undefined);
    assert.ok(short.enter(1, 1, 'waits too', 0).ticket !== undefined);
    assert.equal(short.enter(1, 1, 'too many', 0).ticket, undefined);
    const none = createFairQueues<string>(undefined, 1);
    assert.ok(none.enter(1, 1, 'runs', 0).ticket !== undefined);
    assert.equal(none.enter(1, 1, 'too many', 0).ticket, undefined);
  });

  it('let a request in that is wider than the level when nothing else runs', () => {
    const queues = createFairQueues<string>(queuing, 4);
    const narrow = queues.enter(1, 1, 'narrow', 0).ticket;
    const wide = queues.enter(2, 10, 'wide', 0);
    assert.deepEqual(names(wide.started), []);
    assert.ok(narrow !== undefined && wide.ticket !== undefined);
    assert.deepEqual(names(queues.leave(narrow, 1)), ['wide']);
    assert.equal(queues.seatsInUse, 10);
    queues.leave(wide.ticket, 2);
    assert.deepEqual([queues.seatsInUse, queues.running], [0, 0]);
  });

  it('forget who gives up, and let more in when seats are added', () => {
    const queues = createFairQueues<string>(queuing, 1);
    queues.enter(1, 1, 'runs', 0);
    const gone = queues.enter(1, 1, 'gone', 0).ticket;
    queues.enter(2, 1, 'stays', 0);
    assert.ok(gone !== undefined);
    queues.leave(gone, 1);
    assert.equal(queues.waiting, 1);
    assert.deepEqual(names(queues.setLimit(2, 2)), ['stays']);
    assert.equal(
      queues.snapshot().reduce((sum, { seatsInUse }) => sum + seatsInUse, 0),
      2,
    );
  });
});

describe('turns', () => {
  it('go round the levels, one for each round of the event loop', async () => {
    const pending: (() => void)[] = [];
    const turns = createTurns((next) => pending.push(next));
    const order: string[] = [];
    const wait = (level: string, name: string) => turns.wait(level).then(() => order.push(name));
    const waits = [wait('low', 'l1'), wait('low', 'l2'), wait('low', 'l3'), wait('high', 'h1')];
    while (pending.length > 0) {
      pending.shift()?.();
      await Promise.resolve();
    }
    await Promise.all(waits);
    assert.deepEqual(order, ['l1', 'h1', 'l2', 'l3']);
  });
});

// The controller of priority and fairness, and deadlines of requests: timers, clients that leave, configurations that
// change.
import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import { describe, it, mock } from 'node:test';
import { pino } from 'pino';
import { planFlowConfig } from '../../../control-plane-lite/apiserver/flow-control/flow-config.ts';
import { createFlowController } from '../../../control-plane-lite/apiserver/flow-control/flow-controller.ts';
import type { Leave } from '../../../control-plane-lite/apiserver/flow-control/request-limit.ts';
import { createTurns } from '../../../control-plane-lite/apiserver/flow-control/turns.ts';
import { type Exchange, sendBytes } from '../../../control-plane-lite/apiserver/http/exchange.ts';
import { beginDeadline } from '../../../control-plane-lite/apiserver/http/request-deadline.ts';
import { parseRequestInfo } from '../../../control-plane-lite/apiserver/http/request-info.ts';
import type { FlowSchema, PriorityLevelConfiguration } from '../../../kube/api/generated/flowcontrol-v1.ts';
import { StatusError } from '../../../kube/errors/status-error.ts';

const base = { apiVersion: 'flowcontrol.apiserver.k8s.io/v1' };

const schema = {
  ...base,
  kind: 'FlowSchema',
  metadata: { name: 'all', uid: 'schema-uid' },
  spec: {
    matchingPrecedence: 10,
    priorityLevelConfiguration: { name: 'two' },
    distinguisherMethod: { type: 'ByUser' },
    rules: [
      {
        subjects: [{ kind: 'User', user: { name: '*' } }],
        resourceRules: [{ verbs: ['*'], apiGroups: ['*'], resources: ['*'], namespaces: ['*'], clusterScope: true }],
      },
    ],
  },
} satisfies FlowSchema;

/** Shares as they are leave the level two seats of three. */
const level = (queueLengthLimit = 5): PriorityLevelConfiguration => ({
  ...base,
  kind: 'PriorityLevelConfiguration',
  metadata: { name: 'two', uid: 'level-uid' },
  spec: {
    type: 'Limited',
    limited: {
      nominalConcurrencyShares: 10,
      lendablePercent: 0,
      limitResponse: { type: 'Queue', queuing: { queues: 4, handSize: 2, queueLengthLimit } },
    },
  },
});

class FakeResponse extends EventEmitter {
  headersSent = false;
  writableEnded = false;
  statusCode = 200;
  body = '';
  headers = new Map<string, unknown>();
  setHeader(name: string, value: unknown): void {
    this.headers.set(name, value);
  }
  writeHead(code: number): void {
    this.statusCode = code;
    this.headersSent = true;
  }
  end(bytes: Buffer): void {
    this.body = bytes.toString();
    this.writableEnded = true;
  }
  destroy(): void {
    assert.fail('the connection was cut');
  }
}

/** The parts of an exchange that are looked at here. */
function exchangeFor(url: string, username = 'jane'): { exchange: Exchange; response: FakeResponse } {
  const response = new FakeResponse();
  const info = parseRequestInfo('GET', url);
  const request = { method: 'GET', url, headers: {}, httpVersionMajor: 1 };
  const parts = { request, response, info, user: { username, groups: [] }, warnings: [], nowMs: 0, auditId: 'id' };
  return { exchange: parts as unknown as Exchange, response };
}

function newController() {
  const stored = { levels: [level()] };
  const rejected: string[] = [];
  const controller = createFlowController({
    totalSeats: 3,
    readConfig: () => planFlowConfig([schema], stored.levels),
    storedObjects: () => 1,
    metrics: {
      dispatched: () => undefined,
      rejected: (_level, _schema, reason) => void rejected.push(reason),
      executed: () => undefined,
    },
    turns: createTurns(setImmediate),
    nowMs: () => Date.now(),
  });
  const enter = (username = 'jane') => {
    const { exchange, response } = exchangeFor('/api/v1/pods?limit=1', username);
    return { entered: controller.enter(exchange), response, exchange };
  };
  return { controller, enter, stored, rejected };
}

const isRefusal = (error: unknown) =>
  error instanceof StatusError && error.httpCode === 429 && error.retryAfterSeconds === 1;

describe('the controller of priority and fairness', () => {
  it('lets requests in while there are seats, says where it took them, and then has them wait', async () => {
    const { enter } = newController();
    const first = enter();
    assert.ok(!(first.entered instanceof Promise));
    assert.deepEqual(first.exchange.flow, { schemaUid: 'schema-uid', levelUid: 'level-uid' });
    enter();
    const third = enter().entered;
    assert.ok(third instanceof Promise);
    (first.entered as Leave)();
    (first.entered as Leave)();
    const leave = await third;
    const fourth = enter().entered;
    assert.ok(fourth instanceof Promise);
    leave();
    await fourth;
  });

  it('refuses who waits too long', async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    try {
      const { enter, rejected, controller } = newController();
      enter();
      enter();
      const waits = enter().entered;
      mock.timers.tick(14_999);
      assert.deepEqual(rejected, []);
      mock.timers.tick(1);
      await assert.rejects(async () => waits, isRefusal);
      assert.deepEqual(rejected, ['time-out']);
      assert.equal(controller.requests().length, 2);
    } finally {
      mock.timers.reset();
    }
  });

  it('forgets a client that leaves while it waits', async () => {
    const { enter, rejected, controller } = newController();
    enter();
    enter();
    const { entered, response } = enter();
    response.emit('close');
    await assert.rejects(async () => entered, isRefusal);
    assert.deepEqual([rejected, controller.requests().length], [['cancelled'], 2]);
  });

  it('takes a changed configuration with the next request, and lets those in flight end', async () => {
    const { enter, stored, controller } = newController();
    const first = enter();
    stored.levels = [level(50)];
    controller.invalidate();
    const entered = [enter(), enter()].map((each) => each.entered);
    assert.ok(entered.every((each) => !(each instanceof Promise)));
    (first.entered as Leave)();
    assert.equal(controller.requests().length, 2);
    const two = controller.levels().find(({ config }) => config.name === 'two');
    assert.equal(two?.queues.seatsInUse, 2);
  });

  it('moves idle seats to a level that wants more', async () => {
    const { enter, controller } = newController();
    const asked = Array.from({ length: 4 }, () => enter());
    controller.adjust();
    const two = controller.levels().find(({ config }) => config.name === 'two');
    assert.ok((two?.queues.limit ?? 0) >= 2);
    const settled = Promise.allSettled(asked.map(({ entered }) => entered));
    for (const { response } of asked) response.emit('close');
    await settled;
  });
});

describe('deadlines of requests', () => {
  const logger = pino({ level: 'silent' });

  it('answer for a request that is not answered in time, and drop what comes later', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const { exchange, response } = exchangeFor('/api/v1/pods?timeout=2s');
      beginDeadline(exchange, 60_000, logger);
      mock.timers.tick(1999);
      assert.equal(response.headersSent, false);
      mock.timers.tick(1);
      assert.equal(response.statusCode, 504);
      assert.match(response.body, /"message":"Timeout: request did not complete within the allotted timeout"/);
      sendBytes(exchange, 200, 'application/json', '{}');
      assert.equal(response.statusCode, 504);
    } finally {
      mock.timers.reset();
    }
  });

  it('are no longer than the server’s own, and none for streams', () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    try {
      const long = exchangeFor('/api/v1/pods?timeout=10h');
      beginDeadline(long.exchange, 1000, logger);
      const watch = exchangeFor('/api/v1/pods?watch=1');
      beginDeadline(watch.exchange, 1000, logger);
      const done = exchangeFor('/api/v1/pods');
      beginDeadline(done.exchange, 1000, logger)();
      mock.timers.tick(1000);
      assert.deepEqual(
        [long, watch, done].map(({ response }) => response.headersSent),
        [true, false, false],
      );
    } finally {
      mock.timers.reset();
    }
  });
});

// Priority and fairness over TLS: floods of lists do not hold up heartbeats and leaders, and what is too much is told to
// come back.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { after, before, describe, it } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { Worker } from 'node:worker_threads';
import type { KeyPair } from '../../../control-plane-lite/pki/index.ts';
import { eventually } from '../../support/eventually.ts';
import type { FloodCounts, FloodOptions } from '../../support/list-flood-worker.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const maps = '/api/v1/namespaces/default/configmaps';
const flows = '/apis/flowcontrol.apiserver.k8s.io/v1';
const objects = 3000;
const floodMs = 3000;
/** A leader that cannot renew for ten seconds gives up, and a node is given fifty. */
const longestRenewMs = 5000;
const deadlineMs = 60_000;

describe('priority and fairness', () => {
  let server: TestServer;
  let person: KeyPair;

  before(async () => {
    server = await startApiServer();
    person = await server.user('jane');
    const role = { roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'ClusterRole', name: 'view' } };
    const subjects = [{ apiGroup: 'rbac.authorization.k8s.io', kind: 'User', name: 'jane' }];
    const binding = { metadata: { name: 'jane' }, ...role, subjects };
    await server.call('POST', '/apis/rbac.authorization.k8s.io/v1/clusterrolebindings', { body: binding });
    const data = { a: 'x'.repeat(1000) };
    const names = Array.from({ length: objects }, (_, index) => `filler-${index}`);
    while (names.length > 0) {
      const batch = names.splice(0, 100);
      await Promise.all(batch.map((name) => server.call('POST', maps, { body: { metadata: { name }, data } })));
    }
  });
  after(() => server.close());

  const flood = async (as: KeyPair, path: string, connections: number): Promise<() => Promise<FloodCounts>> => {
    const workerData: FloodOptions = {
      port: server.port,
      path,
      caPem: server.pki.ca.certPem,
      certPem: as.certPem,
      keyPem: as.keyPem,
      connections,
    };
    const worker = new Worker(new URL('../../support/list-flood-worker.ts', import.meta.url), { workerData });
    await once(worker, 'online');
    return async () => {
      worker.postMessage('stop');
      const [counts] = (await once(worker, 'message', { signal: AbortSignal.timeout(deadlineMs) })) as [FloodCounts];
      return counts;
    };
  };

  for (const [who, isAdministrator] of [
    ['an ordinary user', false],
    ['an administrator, whom nothing limits', true],
  ] as const) {
    it(`renews the leases of nodes and leaders while ${who} floods it with lists`, async () => {
      const leases: [KeyPair, string][] = [
        [await server.user('system:node:n1', 'system:nodes'), 'kube-node-lease/leases/n1'],
        [server.pki.scheduler, 'kube-system/leases/kube-scheduler'],
      ];
      const root = '/apis/coordination.k8s.io/v1/namespaces';
      await server.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'kube-node-lease' } } });
      for (const [as, path] of leases) {
        const name = path.split('/')[2];
        await server.call('POST', `${root}/${path.slice(0, path.lastIndexOf('/'))}`, {
          as,
          body: { metadata: { name } },
        });
      }
      const stop = await flood(isAdministrator ? server.pki.admin : person, maps, 60);
      await pause(500);
      const untilMs = performance.now() + floodMs;
      let [longestMs, renewals] = [0, 0];
      while (performance.now() < untilMs) {
        for (const [as, path] of leases) {
          const startedMs = performance.now();
          const current = await server.call<{ spec: object }>('GET', `${root}/${path}`, { as });
          const renewed = { ...current.body, spec: { holderIdentity: path, leaseDurationSeconds: 40 } };
          const answer = await server.call('PUT', `${root}/${path}`, { as, body: renewed });
          assert.equal(answer.status, 200, answer.text);
          longestMs = Math.max(longestMs, performance.now() - startedMs);
          renewals += 1;
        }
      }
      const counts = await stop();
      assert.ok((counts['200'] ?? 0) > 10, JSON.stringify(counts));
      assert.ok(renewals >= 4, `${renewals} renewals`);
      assert.ok(longestMs < longestRenewMs, `${Math.round(longestMs)} ms`);
    });
  }

  it('classifies by stored schemas and levels, and tells what is too much to come back', async () => {
    const level = await server.call<{ metadata: { uid: string } }>('POST', `${flows}/prioritylevelconfigurations`, {
      body: {
        metadata: { name: 'few' },
        spec: {
          type: 'Limited',
          limited: { nominalConcurrencyShares: 1, borrowingLimitPercent: 0, limitResponse: { type: 'Reject' } },
        },
      },
    });
    const schema = await server.call<{ metadata: { uid: string } }>('POST', `${flows}/flowschemas`, {
      body: {
        metadata: { name: 'jane' },
        spec: {
          matchingPrecedence: 50,
          priorityLevelConfiguration: { name: 'few' },
          rules: [
            {
              subjects: [{ kind: 'User', user: { name: 'jane' } }],
              resourceRules: [{ verbs: ['list'], apiGroups: [''], resources: ['configmaps'], namespaces: ['*'] }],
            },
          ],
        },
      },
    });
    assert.deepEqual([level.status, schema.status], [201, 201]);
    const one = await server.call('GET', maps, { as: person });
    assert.equal(one.headers['x-kubernetes-pf-flowschema-uid'], schema.body.metadata.uid);
    assert.equal(one.headers['x-kubernetes-pf-prioritylevel-uid'], level.body.metadata.uid);
    const stop = await flood(person, maps, 30);
    const counts = eventually(
      'a refusal in the metrics',
      async () => {
        const text = (await server.call('GET', '/metrics')).text;
        const rejected =
          /apiserver_flowcontrol_rejected_requests_total\{priority_level="few",flow_schema="jane",reason="concurrency-limit"\} (\d+)/;
        return (
          Number(rejected.exec(text)?.[1] ?? 0) > 0 &&
          /apiserver_flowcontrol_nominal_limit_seats\{priority_level="few"\} 3/.test(text)
        );
      },
      deadlineMs,
    );
    try {
      await counts;
    } finally {
      const answers = await stop();
      assert.ok((answers['429'] ?? 0) > 0, JSON.stringify(answers));
      assert.equal(answers['without retry-after'], undefined);
    }
    const others = await server.call('GET', `${maps}/filler-1`, { as: person });
    assert.deepEqual(
      [others.status, others.headers['x-kubernetes-pf-flowschema-uid'] === schema.body.metadata.uid],
      [200, false],
    );
  });

  it('says of a schema whether its level is there', async () => {
    const schema = { metadata: { name: 'lost' }, spec: { priorityLevelConfiguration: { name: 'nowhere' } } };
    await server.call('POST', `${flows}/flowschemas`, { body: schema });
    await eventually(
      'the condition',
      async () => {
        const { text } = await server.call('GET', `${flows}/flowschemas/lost`);
        return text.includes('"status":"True"') && text.includes('but there is no such object');
      },
      deadlineMs,
    );
  });

  it('shows who has seats', async () => {
    const root = '/debug/api_priority_and_fairness';
    const levels = (await server.call('GET', `${root}/dump_priority_levels`)).text;
    assert.match(levels, /^PriorityLevelName, ActiveQueues, IsIdle/);
    assert.match(levels, /\nworkload-low, 0, true/);
    await eventually('all seats given back', async () => {
      const { text } = await server.call('GET', `${root}/dump_priority_levels`);
      return /\nglobal-default, 0, true, false, 0, 0,/.test(text) && /\nfew, 0, true, false, 0, 0,/.test(text);
    });
    assert.match((await server.call('GET', `${root}/dump_queues`)).text, /^PriorityLevelName, Index/);
    assert.match((await server.call('GET', `${root}/dump_requests`)).text, /^PriorityLevelName, FlowSchemaName/);
    assert.equal((await server.call('GET', `${root}/dump_else`)).status, 404);
  });
});

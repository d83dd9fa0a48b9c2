// The audit log: policies read and matched as the reference does, events in its form, files put aside.
import assert from 'node:assert/strict';
import { mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import { auditEvent } from '../../../control-plane-lite/apiserver/audit/audit-event.ts';
import { openAuditLog, planRemovals } from '../../../control-plane-lite/apiserver/audit/audit-log.ts';
import { parseAuditPolicy } from '../../../control-plane-lite/apiserver/audit/audit-policy.ts';
import { matchAudit } from '../../../control-plane-lite/apiserver/audit/match-audit.ts';
import { parseRequestInfo } from '../../../control-plane-lite/apiserver/http/request-info.ts';

const head = 'apiVersion: audit.k8s.io/v1\nkind: Policy\n';

const policy = parseAuditPolicy(
  `${head}omitStages: [RequestReceived]
omitManagedFields: true
rules:
- {level: None, users: ["system:kube-proxy"], verbs: [watch], resources: [{group: "", resources: [endpoints, services]}]}
- {level: None, userGroups: ["system:authenticated"], nonResourceURLs: ["/api*", "/version"]}
- {level: Request, resources: [{group: "", resources: [configmaps]}], namespaces: [kube-system]}
- {level: Metadata, resources: [{group: "", resources: [secrets, configmaps]}]}
- {level: None, resources: [{group: "", resources: [configmaps], resourceNames: [controller-leader]}]}
- {level: RequestResponse, resources: [{group: "", resources: ["pods/*", "*/scale"]}], omitManagedFields: false}
- {level: Request, resources: [{group: apps}], omitStages: [ResponseStarted]}
- {level: Metadata, resources: [{group: "", resources: [bindings]}]}
`,
  'policy.yaml',
);

describe('audit policies', () => {
  const jane = { username: 'jane', groups: ['system:authenticated'] };
  const proxy = { username: 'system:kube-proxy', groups: ['system:authenticated'] };
  const cases: [string, string, typeof jane, string][] = [
    ['GET', '/api/v1/services?watch=1', proxy, 'None'],
    ['GET', '/api/v1/services?watch=1', jane, 'None'],
    ['GET', '/version', jane, 'None'],
    ['PUT', '/api/v1/namespaces/kube-system/configmaps/a', jane, 'Request'],
    ['PUT', '/api/v1/namespaces/default/configmaps/a', jane, 'Metadata'],
    ['GET', '/api/v1/namespaces/default/secrets/a', jane, 'Metadata'],
    ['GET', '/api/v1/namespaces/default/pods/a', jane, 'RequestResponse'],
    ['GET', '/api/v1/namespaces/default/bindings/a', jane, 'Metadata'],
    ['GET', '/api/v1/namespaces/default/pods/a/log', jane, 'RequestResponse'],
    ['PUT', '/api/v1/namespaces/default/replicationcontrollers/a/scale', jane, 'RequestResponse'],
    ['POST', '/apis/apps/v1/namespaces/default/deployments', jane, 'Request'],
    ['GET', '/apis/batch/v1/jobs', jane, 'None'],
  ];
  for (const [method, url, user, level] of cases) {
    it(`have level ${level} for ${user.username}'s ${method} ${url}`, () => {
      assert.equal(matchAudit(policy, parseRequestInfo(method, url), user).level, level);
    });
  }

  it('join the stages to omit, and let a rule overrule the omission of managed fields', () => {
    const wish = (url: string) => matchAudit(policy, parseRequestInfo('GET', url), jane);
    const deployments = wish('/apis/apps/v1/deployments');
    assert.deepEqual(
      [deployments.omitStages, deployments.omitManagedFields],
      [['RequestReceived', 'ResponseStarted'], true],
    );
    assert.equal(wish('/api/v1/namespaces/a/pods/b/log').omitManagedFields, false);
  });

  const wrong: [string, RegExp][] = [
    ['', /is empty/],
    ['kind: Policy', /must be of apiVersion audit.k8s.io\/v1 and kind Policy/],
    [head, /has no rules/],
    [
      `${head}rules: [{level: Everything}]`,
      /rules\[0\].level: must be one of None, Metadata, Request, RequestResponse/,
    ],
    [`${head}rules: [{level: None, user: [a]}]`, /rules\[0\]: unknown field "user"/],
    [`${head}rules: [{level: None, nonResourceURLs: [healthz]}]`, /must begin with a '\/' character/],
    [`${head}rules: [{level: None, nonResourceURLs: ["/a/*/b"]}]`, /must be the final character/],
    [
      `${head}rules: [{level: None, namespaces: [a], nonResourceURLs: [/a]}]`,
      /both regular resources and non-resource/,
    ],
    [`${head}rules: [{level: None, omitStages: [Later]}]`, /"Later" is not one of/],
    [`${head}rules: [{level: None, resources: [{resourceNames: [a]}]}]`, /requires at least one resource/],
    ['a: [', /is no YAML/],
  ];
  for (const [text, message] of wrong) {
    it(`are refused: ${message.source}`, () => {
      assert.throws(() => parseAuditPolicy(text, 'policy.yaml'), message);
    });
  }
});

describe('audit events', () => {
  it('have the form of audit.k8s.io/v1, without the fields of managers where they are unwanted', () => {
    const metadata = { name: 'a', managedFields: [{ manager: 'x' }] };
    const event = auditEvent({
      level: 'RequestResponse',
      stage: 'ResponseComplete',
      auditId: 'id',
      requestUri: '/api/v1/namespaces/default/pods?dryRun=All',
      info: parseRequestInfo('POST', '/api/v1/namespaces/default/pods?dryRun=All'),
      user: { username: 'jane', groups: ['g'], extra: { k: ['v'] } },
      impersonated: { username: 'joe', groups: [] },
      sourceIps: ['192.0.2.1'],
      userAgent: 'kubectl',
      code: 409,
      failure: { status: 'Failure', reason: 'AlreadyExists', code: 409 },
      annotations: { 'authorization.k8s.io/decision': 'allow' },
      requestObject: { kind: 'Pod', metadata },
      responseObject: { kind: 'PodList', items: [{ metadata }] },
      posted: { name: 'a' },
      omitManagedFields: true,
      receivedMs: Date.UTC(2026, 0, 2),
      nowMs: Date.UTC(2026, 0, 2, 0, 0, 1),
    });
    assert.deepEqual(event, {
      kind: 'Event',
      apiVersion: 'audit.k8s.io/v1',
      level: 'RequestResponse',
      auditID: 'id',
      stage: 'ResponseComplete',
      requestURI: '/api/v1/namespaces/default/pods?dryRun=All',
      verb: 'create',
      user: { username: 'jane', groups: ['g'], extra: { k: ['v'] } },
      impersonatedUser: { username: 'joe' },
      sourceIPs: ['192.0.2.1'],
      userAgent: 'kubectl',
      objectRef: { resource: 'pods', namespace: 'default', name: 'a', apiVersion: 'v1' },
      responseStatus: { metadata: {}, status: 'Failure', reason: 'AlreadyExists', code: 409 },
      requestObject: { kind: 'Pod', metadata: { name: 'a' } },
      responseObject: { kind: 'PodList', items: [{ metadata: { name: 'a' } }] },
      requestReceivedTimestamp: '2026-01-02T00:00:00.000000Z',
      stageTimestamp: '2026-01-02T00:00:01.000000Z',
      annotations: { 'authorization.k8s.io/decision': 'allow' },
    });
  });
});

describe('audit logs', () => {
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-audit-'));
  });
  after(() => rm(dir, { recursive: true, force: true }));

  const logger = pino({ level: 'silent' });
  const limits = { maxAgeDays: 0, maxBackups: 2, maxSizeMb: 1 };

  it('are private, put aside when they are full, and kept in the number that is wanted', async () => {
    const logPath = join(dir, 'logs', 'audit.log');
    let nowMs = Date.UTC(2026, 0, 2);
    const line = `${'x'.repeat(400_000)}\n`;
    for (let index = 0; index < 12; index += 1) {
      nowMs += 1000;
      const log = await openAuditLog({
        config: { ...limits, logPath },
        logger,
        nowMs: () => nowMs,
        lost: () => assert.fail('lines were lost'),
      });
      log.write(line);
      await log.close();
    }
    const names = (await readdir(join(dir, 'logs'))).sort();
    assert.equal(names.length, 3, names.join(' '));
    assert.match(names[0] ?? '', /^audit-2026-01-02T00-00-\d\d\.\d{3}\.log$/);
    const { mode, size } = await stat(logPath);
    assert.deepEqual([mode & 0o777, size <= 1024 * 1024], [0o600, true]);
    assert.ok((await readFile(logPath, 'utf8')).startsWith('xxx'));
  });

  it('forget the oldest by age, and nothing that is not theirs', () => {
    const names = [
      'audit-2026-01-01T00-00-00.000.log',
      'audit-2026-01-09T00-00-00.000.log',
      'audit-2026-01-10T00-00-00.000.log',
      'audit-notes.log',
      'audit.log',
    ];
    const now = Date.UTC(2026, 0, 11);
    assert.deepEqual(planRemovals(names, '/x/audit.log', { maxAgeDays: 5, maxBackups: 0 }, now), [names[0]]);
    assert.deepEqual(planRemovals(names, '/x/audit.log', { maxAgeDays: 0, maxBackups: 1 }, now), [names[1], names[0]]);
    assert.deepEqual(planRemovals(names, '/x/audit.log', { maxAgeDays: 0, maxBackups: 0 }, now), []);
  });

  it('say once that the disk is full, count what is lost, and hold nobody up', async () => {
    const errors: string[] = [];
    const telling = pino({ level: 'info' }, { write: (text: string) => void errors.push(text) });
    let lost = 0;
    const config = { ...limits, logPath: '/dev/full' };
    const log = await openAuditLog({ config, logger: telling, nowMs: Date.now, lost: (lines) => (lost += lines) });
    for (let index = 0; index < 5; index += 1) {
      log.write('line\n');
      await new Promise((resolve) => setImmediate(resolve));
    }
    await log.close();
    assert.equal(lost, 5);
    assert.equal(errors.length, 1);
    assert.match(errors[0] ?? '', /ENOSPC/);
  });
});

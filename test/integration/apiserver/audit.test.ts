// The audit log of a running server: what the policy asks for is there, and what it does not ask for is not.
import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { eventually } from '../../support/eventually.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

const policy = `apiVersion: audit.k8s.io/v1
kind: Policy
omitManagedFields: true
rules:
- {level: Metadata, resources: [{group: "", resources: [secrets]}]}
- {level: RequestResponse, resources: [{group: "", resources: [configmaps]}]}
- {level: Request, verbs: [create], resources: [{group: "", resources: [namespaces]}]}
- {level: None}
`;

interface AuditEvent {
  level: string;
  stage: string;
  auditID: string;
  verb: string;
  user: { username: string };
  impersonatedUser?: { username: string };
  objectRef: { resource: string; name?: string };
  responseStatus?: { code: number; reason?: string };
  requestObject?: { data?: object };
  responseObject?: { metadata?: { uid?: string; managedFields?: unknown } };
  annotations?: Record<string, string>;
}

describe('the audit log', () => {
  let server: TestServer;
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'berth-audit-'));
    await writeFile(join(dir, 'policy.yaml'), policy);
    server = await startApiServer([`--audit-policy-file=${dir}/policy.yaml`, `--audit-log-path=${dir}/audit.log`]);
  });
  after(async () => {
    await server.close();
    await rm(dir, { recursive: true, force: true });
  });

  const events = async (): Promise<AuditEvent[]> =>
    (await readFile(join(dir, 'audit.log'), 'utf8'))
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line) as AuditEvent);

  const complete = (what: string, isWanted: (event: AuditEvent) => boolean) =>
    eventually(what, async () =>
      (await events()).find((event) => event.stage === 'ResponseComplete' && isWanted(event)),
    );

  it('has requests and answers where they are asked for, and their id in the answer', async () => {
    const answer = await server.call('POST', '/api/v1/namespaces/default/configmaps', {
      body: { metadata: { name: 'seen' }, data: { a: 'b' } },
      headers: { 'audit-id': 'my-own-id' },
    });
    assert.equal(answer.headers['audit-id'], 'my-own-id');
    const event = await complete('the event', ({ auditID }) => auditID === 'my-own-id');
    assert.deepEqual([event.level, event.verb, event.objectRef.name], ['RequestResponse', 'create', 'seen']);
    assert.deepEqual(event.requestObject?.data, { a: 'b' });
    assert.ok(event.responseObject?.metadata?.uid !== undefined);
    assert.equal(event.responseObject?.metadata?.managedFields, undefined);
    assert.equal(event.responseStatus?.code, 201);
    assert.equal(event.annotations?.['authorization.k8s.io/decision'], 'allow');
    const stages = (await events()).filter(({ auditID }) => auditID === 'my-own-id').map(({ stage }) => stage);
    assert.deepEqual(stages, ['RequestReceived', 'ResponseComplete']);
  });

  it('never has a secret where only its metadata is asked for', async () => {
    const body = { metadata: { name: 'hidden' }, stringData: { password: 'hush-hush' } };
    assert.equal((await server.call('POST', '/api/v1/namespaces/default/secrets', { body })).status, 201);
    await server.call('GET', '/api/v1/namespaces/default/secrets/hidden');
    const event = await complete('the event', ({ objectRef }) => objectRef.name === 'hidden');
    assert.deepEqual([event.level, event.requestObject, event.responseObject], ['Metadata', undefined, undefined]);
    const text = await readFile(join(dir, 'audit.log'), 'utf8');
    assert.ok(!text.includes('hush-hush') && !text.includes(Buffer.from('hush-hush').toString('base64')));
  });

  it('says who asked, as whom, and what was refused', async () => {
    const jane = await server.user('jane');
    await server.call('DELETE', '/api/v1/namespaces/default/configmaps/seen', { as: jane });
    const refused = await complete('the refusal', ({ user }) => user.username === 'jane');
    assert.deepEqual([refused.responseStatus?.code, refused.responseStatus?.reason], [403, 'Forbidden']);
    assert.equal(refused.annotations?.['authorization.k8s.io/decision'], 'forbid');
    await server.call('GET', '/api/v1/namespaces/default/configmaps/seen', { headers: { 'impersonate-user': 'joe' } });
    const acting = await complete('the impersonation', ({ impersonatedUser }) => impersonatedUser !== undefined);
    assert.deepEqual([acting.user.username !== 'joe', acting.impersonatedUser?.username], [true, 'joe']);
  });

  it('has the start of a watch, and its end', async () => {
    const path = '/api/v1/namespaces/default/configmaps?watch=1&timeoutSeconds=1';
    await server.call('GET', path, { headers: { 'audit-id': 'a-watch' } });
    await complete('the end of the watch', ({ auditID }) => auditID === 'a-watch');
    const stages = (await events()).filter(({ auditID }) => auditID === 'a-watch').map(({ stage }) => stage);
    assert.deepEqual(stages, ['RequestReceived', 'ResponseStarted', 'ResponseComplete']);
  });

  it('leaves out what nobody asks for, and counts what is written', async () => {
    await server.call('GET', '/api/v1/nodes');
    const { text } = await server.call('GET', '/metrics');
    assert.match(text, /apiserver_audit_event_total [1-9]/);
    assert.ok(!(await events()).some(({ objectRef }) => objectRef?.resource === 'nodes'));
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { clientConfigOf, readKubeconfig, readKubeconfigs } from '#kube/client/kubeconfig.ts';
import type { CredentialTools } from '#kube/client/kubeconfig-types.ts';
import { inClusterConfig, loadClientConfig } from '#kube/client/load-config.ts';
import type { Exec } from '#kube/process/exec.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const dir = mkdtempSync(join(tmpdir(), 'kubeconfig-'));
after(() => rmSync(dir, { recursive: true }));

const noExec: Exec = async (file) => assert.fail(`ran ${file}`);

function tools(given: Partial<CredentialTools> = {}): CredentialTools {
  return { exec: noExec, clock: createFakeClock(), env: {}, ...given };
}

function write(name: string, content: unknown): string {
  const path = join(dir, name);
  writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content));
  return path;
}

function config(user: object, cluster: object = {}): object {
  return {
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'c',
    clusters: [{ name: 'k', cluster: { server: 'https://api:6443', ...cluster } }],
    users: [{ name: 'u', user }],
    contexts: [{ name: 'c', context: { cluster: 'k', user: 'u', namespace: 'ns' } }],
  };
}

test('reads embedded certificates', async () => {
  const data = (text: string) => Buffer.from(text).toString('base64');
  const path = write('embedded', {
    ...config(
      { 'client-certificate-data': data('CERT'), 'client-key-data': data('KEY') },
      { 'certificate-authority-data': data('CA') },
    ),
  });
  const client = clientConfigOf(readKubeconfig(path), tools());
  assert.deepEqual([client.servers, client.caPem, client.namespace], [['https://api:6443'], 'CA', 'ns']);
  assert.deepEqual(await client.credentials?.current(), { certificate: { certPem: 'CERT', keyPem: 'KEY' } });
});

test('knows further servers of a cluster by an extension', () => {
  const extension = { servers: ['https://b:6443', 'https://api:6443'] };
  const extensions = [{ name: 'other' }, { name: 'berth-other-servers', extension }];
  const path = write('servers', config({}, { extensions }));
  assert.deepEqual(clientConfigOf(readKubeconfig(path), tools()).servers, ['https://api:6443', 'https://b:6443']);
  const wrong = write('wrong', config({}, { extensions: [{ name: 'berth-other-servers', extension: 'x' }] }));
  assert.throws(() => clientConfigOf(readKubeconfig(wrong), tools()), { code: 'CLIENT_CONFIG' });
});

test('reads certificate files relative to the kubeconfig, again when they are rotated', async () => {
  const certPath = write('node.pem', 'OLD');
  const path = write('files', config({ 'client-certificate': 'node.pem', 'client-key': 'node.pem' }));
  const clock = createFakeClock();
  const client = clientConfigOf(readKubeconfig(path), tools({ clock }));
  assert.equal((await client.credentials?.current())?.certificate?.certPem, 'OLD');
  writeFileSync(certPath, 'NEWER');
  utimesSync(certPath, 1, 1);
  await clock.advance(1500);
  assert.equal((await client.credentials?.current())?.certificate?.certPem, 'NEWER');
});

test('follows a token file and prefers it to an embedded token', async () => {
  write('token', 'from-file\n');
  const path = write('token-config', config({ token: 'embedded', tokenFile: 'token' }));
  const client = clientConfigOf(readKubeconfig(path), tools());
  assert.deepEqual(await client.credentials?.current(), { authorization: 'Bearer from-file' });
});

test('asks a credential program once until its credential expires or is rejected', async () => {
  let runs = 0;
  const clock = createFakeClock();
  const exec: Exec = async (file, args, options) => {
    runs += 1;
    assert.equal(file, 'get-token');
    assert.deepEqual(args, ['--now']);
    assert.match(options?.env?.['KUBERNETES_EXEC_INFO'] ?? '', /"server":"https:\/\/api:6443"/);
    const expirationTimestamp = new Date(clock.now() + 60_000).toISOString();
    const credential = { kind: 'ExecCredential', status: { token: `t${runs}`, expirationTimestamp } };
    return { exitCode: 0, stdout: JSON.stringify(credential), stderr: '' };
  };
  const apiVersion = 'client.authentication.k8s.io/v1';
  const plugin = { apiVersion, command: 'get-token', args: ['--now'], provideClusterInfo: true };
  const path = write('exec-config', config({ exec: plugin }));
  const { credentials } = clientConfigOf(readKubeconfig(path), tools({ exec, clock }));
  const [first, same] = await Promise.all([credentials?.current(), credentials?.current()]);
  assert.deepEqual([first?.authorization, same?.authorization], ['Bearer t1', 'Bearer t1']);
  await clock.advance(61_000);
  assert.equal((await credentials?.current())?.authorization, 'Bearer t2');
  credentials?.rejected?.();
  assert.equal((await credentials?.current())?.authorization, 'Bearer t3');
});

test('merges files as KUBECONFIG lists them: the first that names something wins', () => {
  const first = write('first', { ...config({ token: 'a' }), 'current-context': undefined });
  const second = write('second', {
    ...config({ token: 'b' }),
    contexts: [{ name: 'other', context: { cluster: 'k', user: 'u' } }],
    'current-context': 'other',
  });
  const merged = readKubeconfigs([first, join(dir, 'absent'), second]);
  assert.equal(merged.users[0]?.user.token, 'a');
  assert.deepEqual(merged.contexts.map(({ name }) => name).sort(), ['c', 'other']);
  assert.equal(merged['current-context'], 'other');
});

test('says what is wrong with a kubeconfig', () => {
  assert.throws(() => readKubeconfig(join(dir, 'absent')), /cannot read kubeconfig .*absent/);
  assert.throws(() => readKubeconfig(write('list', '[]')), /is not a kubeconfig/);
  const dangling = write('dangling', { ...config({}), clusters: [] });
  assert.throws(() => clientConfigOf(readKubeconfig(dangling), tools()), /cluster "k" of context c is not in/);
  const half = write('half', config({ 'client-certificate-data': 'QQ==' }));
  assert.throws(() => clientConfigOf(readKubeconfig(half), tools()), /must be given together/);
});

test('finds the API server from inside a pod', async () => {
  write('ca.crt', 'CA');
  write('namespace', 'pod-ns');
  write('token', 'pod-token');
  const env = { KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '443' };
  const client = inClusterConfig(tools({ env }), dir);
  assert.deepEqual([client.servers, client.namespace, client.caPem], [['https://[fd00::1]:443'], 'pod-ns', 'CA']);
  assert.deepEqual(await client.credentials?.current(), { authorization: 'Bearer pod-token' });
});

test('says where it looked when there is no configuration at all', () => {
  assert.throws(() => loadClientConfig(tools({ env: { HOME: join(dir, 'nobody') } })), /give --kubeconfig/);
});

import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { type Exec, systemExec } from '#kube/process/exec.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';
import { parseImageReference } from '../../../agent/image/image-reference.ts';
import { createCredentialProvider } from '../../../agent/image/provider/credential-provider.ts';
import { loadProviders } from '../../../agent/image/provider/provider-config.ts';
import { decodeResponse, runProvider } from '../../../agent/image/provider/run-provider.ts';
import {
  matchesPattern,
  parseDockerConfig,
  type RegistryCredential,
  selectCredentials,
} from '../../../agent/image/pull-credentials.ts';
import { createPullRate } from '../../../agent/image/pull-rate.ts';
import { decideAccess, pullCredentialsOf, withPull } from '../../../agent/image/records/pull-record.ts';
import { openPullRecords } from '../../../agent/image/records/pull-records.ts';
import { createVerificationPolicy } from '../../../agent/image/records/verification-policy.ts';
import { createFakeClock } from '../../support/fake-clock.ts';
import { container, podOf } from './fixtures.ts';

const logger = pino({ level: 'silent' });
const version = 'credentialprovider.kubelet.k8s.io/v1';
const directory = mkdtempSync(join(tmpdir(), 'image-credentials-'));
after(() => rmSync(directory, { recursive: true, force: true }));

describe('patterns of images', () => {
  const cases: [pattern: string, image: string, matches: boolean][] = [
    ['registry.example', 'registry.example/a', true],
    ['registry.example', 'registry.example:5000/a', false],
    ['registry.example:5000', 'registry.example:5000/a', true],
    ['*.example.com', 'a.example.com/x', true],
    ['*.example.com', 'a.b.example.com/x', false],
    ['*.*.example.com', 'a.b.example.com/x', true],
    ['reg-*.example.com', 'reg-eu.example.com/x', true],
    ['reg-*.example.com', 'eu.example.com/x', false],
    ['a*b*c.example.com', 'a1b2c.example.com/x', true],
    ['a*b*c.example.com', 'a1c2b.example.com/x', false],
    ['ab*ba.example.com', 'aba.example.com/x', false],
    ['a.b*.example.com', 'axb.example.com/x', false],
    ['registry.example/team', 'registry.example/team/app', true],
    ['registry.example/team', 'registry.example/other/app', false],
    ['docker.io', 'busybox', true],
  ];
  for (const [pattern, image, matches] of cases) {
    it(`${pattern} ${matches ? 'fits' : 'does not fit'} ${image}`, () => {
      const reference = parseImageReference(image);
      assert.ok(reference);
      assert.equal(matchesPattern(pattern, reference), matches);
    });
  }

  it('reads keys of docker configurations with scheme, API version and the old default registry', () => {
    const keys = ['https://index.docker.io/v1/', 'http://registry.example/v2/', 'registry.example/v1/team'];
    const text = JSON.stringify({
      auths: Object.fromEntries(keys.map((key) => [key, { username: 'u', password: 'p' }])),
    });
    const patterns = parseDockerConfig(text, false).map(({ pattern }) => pattern);
    assert.deepEqual(patterns, ['docker.io', 'registry.example', 'registry.example/team']);
  });

  it("tries the pod's own credentials before the node's, longer paths first", () => {
    const own = { type: 'secret', uid: 'u', namespace: 'n', name: 's' } as const;
    const entries = (...patterns: string[]) => ({
      auths: Object.fromEntries(patterns.map((pattern) => [pattern, { username: pattern, password: 'p' }])),
    });
    const credentials = [
      ...parseDockerConfig(JSON.stringify(entries('r.example/team')), false),
      ...parseDockerConfig(JSON.stringify(entries('r.example', 'r.example/team/app')), false, own),
    ];
    const reference = parseImageReference('r.example/team/app:1');
    assert.ok(reference);
    const order = selectCredentials(reference, credentials).map(({ auth }) => auth.username);
    assert.deepEqual(order, ['r.example/team/app', 'r.example', 'r.example/team']);
  });
});

describe('the configuration of credential providers', () => {
  const binDir = join(directory, 'bin');
  mkdirSync(binDir);
  writeFileSync(join(binDir, 'one'), '#!/bin/sh\n', { mode: 0o755 });
  writeFileSync(join(binDir, 'plain'), '', { mode: 0o644 });
  const provider = { name: 'one', apiVersion: version, matchImages: ['*.example.com'], defaultCacheDuration: '10m' };
  const load = (...providers: object[]) => {
    const path = join(directory, 'providers.yaml');
    const config = { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig', providers };
    writeFileSync(path, JSON.stringify(config));
    return loadProviders(path, binDir);
  };
  const tokenAttributes = { serviceAccountTokenAudience: 'a', requireServiceAccount: true, cacheType: 'Token' };

  it('is read from a file', () => {
    const [one] = load({ ...provider, args: ['get'], env: [{ name: 'K', value: 'v' }], tokenAttributes });
    assert.equal(one?.path, join(binDir, 'one'));
    assert.equal(one?.defaultCacheMs, 600_000);
    assert.deepEqual(one?.env, { K: 'v' });
    assert.equal(one?.tokens?.cacheType, 'Token');
  });

  const wrong: [string, object, RegExp][] = [
    ['a name that leaves the folder', { name: '../one' }, /neither slashes nor spaces/],
    ['a program that is not there', { name: 'absent' }, /there is no program/],
    ['a file that is no program', { name: 'plain' }, /there is no program/],
    ['an unknown version', { apiVersion: 'v9' }, /apiVersion takes/],
    ['no images', { matchImages: [] }, /matchImages is required/],
    ['no duration', { defaultCacheDuration: undefined }, /defaultCacheDuration is required/],
    ['an unknown field', { matchImage: ['x'] }, /unknown field matchImage/],
    [
      'tokens without audience',
      { tokenAttributes: { ...tokenAttributes, serviceAccountTokenAudience: '' } },
      /Audience is required/,
    ],
    ['tokens without a cache type', { tokenAttributes: { ...tokenAttributes, cacheType: 'x' } }, /cacheType takes/],
  ];
  for (const [what, fields, expected] of wrong) {
    it(`is refused with ${what}`, () => assert.throws(() => load({ ...provider, ...fields }), expected));
  }
  it('is refused with one name twice', () => assert.throws(() => load(provider, provider), /configured twice/));
});

describe('a credential provider', () => {
  const binDir = join(directory, 'programs');
  const asked = join(directory, 'asked');
  mkdirSync(binDir, { recursive: true });
  /** Answers with the user `USER`, notes the request, and says how long to keep it. */
  const write = (answer: object) => {
    const path = join(binDir, 'provider');
    const text = JSON.stringify({ apiVersion: version, kind: 'CredentialProviderResponse', ...answer });
    writeFileSync(path, `#!/bin/sh\ncat >> ${asked}; echo >> ${asked}\ncat <<'END'\n${text}\nEND\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const auth = { '*.example.com': { username: 'user', password: 'secret-word' } };
  const settings = {
    name: 'provider',
    path: join(binDir, 'provider'),
    apiVersion: version,
    matchImages: ['*.example.com'],
    defaultCacheMs: 60_000,
    args: [],
    env: {},
    tokens: undefined,
  };
  const serviceAccounts = {
    get: async () => ({ uid: 'sa-uid', annotations: { 'example.com/role': 'reader', other: 'x' } }),
    token: async () => 'a-token',
  };
  const pod = podOf({ containers: [container('c')], serviceAccountName: 'builder' });
  const requests = () => readFileSync(asked, 'utf8').trim().split('\n');
  beforeEach(() => writeFileSync(asked, ''));

  it('is asked for its images only, once for all images of a registry where it says so', async () => {
    write({ cacheKeyType: 'Registry', auth });
    const clock = createFakeClock(0);
    const provide = createCredentialProvider(settings, { exec: systemExec, clock, logger, serviceAccounts });
    assert.deepEqual(await provide(pod, 'other.org/x'), []);
    const [first] = await provide(pod, 'a.example.com/x');
    assert.equal(first?.auth.username, 'user');
    assert.deepEqual(first?.origin, { type: 'node' });
    await provide(pod, 'a.example.com/y');
    assert.equal(requests().length, 1);
    assert.deepEqual(JSON.parse(requests()[0] ?? ''), {
      kind: 'CredentialProviderRequest',
      apiVersion: version,
      image: 'a.example.com/x',
    });
    await provide(pod, 'b.example.com/y');
    assert.equal(requests().length, 2);
    await clock.advance(61_000);
    await provide(pod, 'a.example.com/x');
    assert.equal(requests().length, 3);
  });

  it('is asked each time when it wants nothing kept, but not twice at once', async () => {
    write({ cacheKeyType: 'Image', cacheDuration: '0s', auth });
    const provide = createCredentialProvider(settings, {
      exec: systemExec,
      clock: createFakeClock(0),
      logger,
      serviceAccounts,
    });
    await Promise.all([provide(pod, 'a.example.com/x'), provide(pod, 'a.example.com/x')]);
    assert.equal(requests().length, 1);
    await provide(pod, 'a.example.com/x');
    assert.equal(requests().length, 2);
  });

  it("gets the token and the annotations of the pod's account, and its credentials are the account's", async () => {
    write({ cacheKeyType: 'Global', auth });
    const tokens = {
      audience: 'registry',
      cacheType: 'ServiceAccount' as const,
      requireServiceAccount: true,
      requiredAnnotations: ['example.com/role'],
      optionalAnnotations: ['absent'],
    };
    const options = { exec: systemExec, clock: createFakeClock(0), logger, serviceAccounts };
    const provide = createCredentialProvider({ ...settings, tokens }, options);
    const [credential] = await provide(pod, 'a.example.com/x');
    const { serviceAccountToken, serviceAccountAnnotations } = JSON.parse(requests()[0] ?? '');
    assert.equal(serviceAccountToken, 'a-token');
    assert.deepEqual(serviceAccountAnnotations, { 'example.com/role': 'reader' });
    assert.deepEqual(credential?.origin, { type: 'serviceAccount', uid: 'sa-uid', namespace: 'shop', name: 'builder' });
    const missing = { ...tokens, requiredAnnotations: ['example.com/absent'] };
    assert.deepEqual(
      await createCredentialProvider({ ...settings, tokens: missing }, options)(pod, 'a.example.com/x'),
      [],
    );
    assert.equal(requests().length, 1);
  });

  it('gives nothing when it fails or answers something else, and no error holds what it answered', async () => {
    const exec: Exec = async () => ({ exitCode: 1, stdout: 'secret-word', stderr: 'no access' });
    const failing = runProvider(exec, settings, { image: 'a.example.com/x' });
    await assert.rejects(
      failing,
      (error: Error) => /no access/.test(error.message) && !/secret-word/.test(error.message),
    );
    for (const text of [
      '',
      '{',
      '{"kind":"x"}',
      JSON.stringify({ kind: 'CredentialProviderResponse', apiVersion: 'v9' }),
    ]) {
      assert.throws(() => decodeResponse('provider', version, text), { code: 'CREDENTIAL_PROVIDER' });
    }
    const answer = { kind: 'CredentialProviderResponse', apiVersion: version, cacheKeyType: 'Image' };
    assert.throws(
      () => decodeResponse('p', version, JSON.stringify({ ...answer, cacheDuration: 'soon' })),
      /cacheDuration/,
    );
    assert.equal(
      decodeResponse('p', version, JSON.stringify({ ...answer, cacheDuration: '1h30m0s' })).cacheMs,
      5_400_000,
    );
    assert.throws(
      () => decodeResponse('p', version, JSON.stringify({ ...answer, cacheKeyType: 'Other' })),
      /cacheKeyType/,
    );
    const options = { exec, clock: createFakeClock(0), logger, serviceAccounts };
    assert.deepEqual(await createCredentialProvider(settings, options)(pod, 'a.example.com/x'), []);
  });
});

const ofSecret = (name: string, password: string): RegistryCredential => ({
  pattern: 'r.example',
  auth: { username: 'u', password },
  origin: { type: 'secret', uid: `uid-${name}`, namespace: 'shop', name },
});
const ofNode: RegistryCredential = {
  pattern: 'r.example',
  auth: { username: 'n', password: 'p' },
  origin: { type: 'node' },
};

describe('records of pulls', () => {
  const image = 'r.example/app:1';
  const repository = 'r.example/app';
  const recordOf = (used: RegistryCredential | undefined) =>
    withPull(undefined, 'sha256:1', repository, pullCredentialsOf(used), '2026-01-01T00:00:00Z');

  it('open an image to pods with the same secret or the same credentials in another', () => {
    const record = recordOf(ofSecret('a', 'one'));
    assert.deepEqual(decideAccess(record, repository, [ofSecret('a', 'one')]), { allowed: true });
    assert.equal(decideAccess(record, repository, [ofSecret('b', 'one')]).allowed, true);
    assert.notEqual(decideAccess(record, repository, [ofSecret('b', 'one')]).renew, undefined);
    assert.equal(decideAccess(record, repository, [ofSecret('a', 'changed')]).allowed, true);
    assert.equal(decideAccess(record, repository, [ofSecret('b', 'two')]).allowed, false);
    assert.equal(decideAccess(record, repository, []).allowed, false);
    assert.equal(decideAccess(record, 'r.example/other', [ofSecret('a', 'one')]).allowed, false);
  });

  it("open an image to every pod once it was pulled without credentials or with the node's", () => {
    assert.equal(decideAccess(recordOf(undefined), repository, []).allowed, true);
    assert.equal(decideAccess(recordOf(ofNode), repository, []).allowed, true);
    const later = withPull(recordOf(ofSecret('a', 'one')), 'sha256:1', repository, pullCredentialsOf(ofNode), 't');
    assert.deepEqual(later.credentialMapping, { [repository]: { nodePodsAccessible: true } });
  });

  it('never hold a password', () => {
    assert.doesNotMatch(JSON.stringify(recordOf(ofSecret('a', 'my-password'))), /my-password/);
  });

  const open = (name: string, policy: string, images: { id: string; repoTags: string[] }[] = []) =>
    openPullRecords({
      rootDir: join(directory, name),
      policy: createVerificationPolicy(policy, []),
      images: { listImages: async () => images.map((each) => ({ repoDigests: [], ...each })) as never },
      clock: createFakeClock(Date.parse('2026-01-01T00:00:00Z')),
      logger,
    });
  const none = async () => [];

  it('leave preloaded images alone by default, and ask for credentials for pulled ones, also after a restart', async () => {
    const records = await open('default', 'NeverVerifyPreloadedImages');
    assert.equal(await records.mayUse(image, 'sha256:1', none), true);
    await records.begin(image);
    await records.succeeded(image, 'sha256:1', ofSecret('a', 'one'));
    assert.equal(await records.mayUse(image, 'sha256:1', none), false);
    const there = [{ id: 'sha256:1', repoTags: [image] }];
    const again = await open('default', 'NeverVerifyPreloadedImages', there);
    assert.equal(await again.mayUse(image, 'sha256:1', none), false);
    assert.equal(await again.mayUse(image, 'sha256:1', async () => [ofSecret('b', 'one')]), true);
    assert.equal(await again.mayUse(image, 'sha256:1', async () => [ofSecret('b', 'new password')]), true);
    const folder = join(directory, 'default', 'image_manager');
    assert.deepEqual(readdirSync(join(folder, 'pulling')), []);
    const [file = ''] = readdirSync(join(folder, 'pulled'));
    assert.match(file, /^sha256-[0-9a-f]{64}$/);
    assert.equal(statSync(join(folder, 'pulled', file)).mode & 0o777, 0o600);
  });

  it('verify everything or nothing as configured', async () => {
    assert.equal(await (await open('always', 'AlwaysVerify')).mayUse(image, 'sha256:1', none), false);
    const never = await open('never', 'NeverVerify');
    await never.begin(image);
    await never.succeeded(image, 'sha256:1', ofSecret('a', 'one'));
    assert.equal(await never.mayUse(image, 'sha256:1', none), true);
  });

  it('take over a pull that an agent began and did not see the end of', async () => {
    await (await open('crash', 'NeverVerifyPreloadedImages')).begin(image);
    const again = await open('crash', 'NeverVerifyPreloadedImages', [{ id: 'sha256:1', repoTags: [image] }]);
    assert.equal(await again.mayUse(image, 'sha256:1', none), false);
    assert.deepEqual(readdirSync(join(directory, 'crash', 'image_manager', 'pulling')), []);
  });

  it('are forgotten with their image', async () => {
    const records = await open('gone', 'NeverVerifyPreloadedImages');
    await records.begin(image);
    await records.succeeded(image, 'sha256:1', ofSecret('a', 'one'));
    await open('gone', 'NeverVerifyPreloadedImages', [{ id: 'sha256:2', repoTags: [] }]);
    assert.deepEqual(readdirSync(join(directory, 'gone', 'image_manager', 'pulled')), []);
  });

  it('refuse an image whose record cannot be read', async () => {
    const records = await open('damaged', 'NeverVerifyPreloadedImages');
    await records.begin(image);
    await records.succeeded(image, 'sha256:1', undefined);
    const folder = join(directory, 'damaged', 'image_manager', 'pulled');
    writeFileSync(join(folder, readdirSync(folder)[0] ?? ''), '{');
    assert.equal(await records.mayUse(image, 'sha256:1', none), false);
  });
});

describe('createVerificationPolicy', () => {
  it('lets images of the list pass', () => {
    const policy = createVerificationPolicy('NeverVerifyAllowlistedImages', [
      'r.example/team/*',
      'docker.io/library/busybox',
    ]);
    assert.equal(policy('r.example/team/app:1', true), false);
    assert.equal(policy('busybox', true), false);
    assert.equal(policy('r.example/other', false), true);
  });
  for (const pattern of ['', ' x', 'r.example/*/app', 'r.example/app:1', '/*', 'busybox']) {
    it(`refuses the pattern ${JSON.stringify(pattern)}`, () => {
      assert.throws(() => createVerificationPolicy('NeverVerifyAllowlistedImages', [pattern]), { name: 'UsageError' });
    });
  }
  it('refuses a list that its policy does not look at', () => {
    assert.throws(() => createVerificationPolicy('NeverVerify', ['r.example/*']), { name: 'UsageError' });
  });
  it('refuses an unknown policy', () => assert.throws(() => createVerificationPolicy('Sometimes', [])));
});

describe('createPullRate', () => {
  it('allows a burst, then one after the other', async () => {
    const clock = createFakeClock(0);
    const mayPull = createPullRate(clock, 2, 3);
    assert.deepEqual([mayPull(), mayPull(), mayPull(), mayPull()], [true, true, true, false]);
    await clock.advance(500);
    assert.deepEqual([mayPull(), mayPull()], [true, false]);
  });
});

describe('pulls at once', () => {
  const load = (fields: object) => {
    const path = join(directory, 'agent.yaml');
    const kind = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
    writeFileSync(path, JSON.stringify({ ...kind, ...fields }));
    const loaded = loadConfiguration([`--config=${path}`], 'v1.36.0');
    assert.ok(!('print' in loaded));
    return resolveSettings(loaded).parallelPulls;
  };
  const cases: [object, number | RegExp][] = [
    [{}, 1],
    [{ serializeImagePulls: false }, Number.POSITIVE_INFINITY],
    [{ serializeImagePulls: false, maxParallelImagePulls: 3 }, 3],
    [{ maxParallelImagePulls: 3 }, 3],
    [{ serializeImagePulls: true, maxParallelImagePulls: 3 }, /unless SerializeImagePulls .* is set to false/],
    [{ maxParallelImagePulls: 0 }, /must be a positive number/],
  ];
  for (const [fields, expected] of cases) {
    it(`${JSON.stringify(fields)} means ${String(expected)}`, () => {
      if (expected instanceof RegExp) assert.throws(() => load(fields), expected);
      else assert.equal(load(fields), expected);
    });
  }
});

// Images from a registry to a real containerd: policies, credentials of every origin, checks, limits, failures.
import assert from 'node:assert/strict';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { pino } from 'pino';
import type { Container, Pod, Secret } from '#kube/api/generated/core-v1.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createMetrics } from '#kube/metrics/metrics.ts';
import { systemClock } from '#kube/process/clock.ts';
import { systemExec } from '#kube/process/exec.ts';
import { loadConfiguration } from '../../../agent/config/load-configuration.ts';
import { resolveSettings } from '../../../agent/config/settings.ts';
import { type CriChannel, openCriChannel } from '../../../agent/cri/grpc-channel.ts';
import { createGrpcImageService } from '../../../agent/cri/grpc-image-service.ts';
import type { ImageService } from '../../../agent/cri/image-service.ts';
import type { EnsureImage } from '../../../agent/image/ensure-image.ts';
import { createKeyBackoff } from '../../../agent/sync/key-backoff.ts';
import type { ObjectCache } from '../../../agent/volume/object-cache.ts';
import type { AgentParts } from '../../../agent/wiring/agent-parts.ts';
import { wireImages } from '../../../agent/wiring/wire-images.ts';
import { containerdUnavailable, startTestContainerd, type TestContainerd } from '../../support/test-containerd.ts';
import { startTestRegistry, type TestRegistry } from '../../support/test-registry.ts';

interface Node {
  /** Ensures an image for a pod with pull secrets; the events go to `events`. */
  ensure(
    image: string,
    fields?: { policy?: Container['imagePullPolicy']; secrets?: string[] },
  ): ReturnType<EnsureImage>;
  events: string[];
  metrics(): Promise<string>;
}

describe('images from a registry', { skip: containerdUnavailable() ?? false }, () => {
  let daemon: TestContainerd;
  let registry: TestRegistry;
  let channel: CriChannel;
  let images: ImageService;
  let work: string;
  const secrets = new Map<string, Secret>();
  let pods = 0;

  before(async () => {
    work = await mkdtemp(join(tmpdir(), 'berth-images-'));
    daemon = await startTestContainerd();
    registry = await startTestRegistry();
    const hosts = join(daemon.directory, 'registry', registry.host);
    await mkdir(hosts, { recursive: true });
    await writeFile(join(hosts, 'hosts.toml'), `server = "http://${registry.host}"\n`);
    channel = openCriChannel(daemon.endpoint);
    images = createGrpcImageService(channel, 60_000);
  });
  after(async () => {
    channel?.close();
    await registry?.[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
    await rm(work, { recursive: true, force: true });
  });

  /** An agent's images with flags of its own. */
  async function startNode(name: string, fields: object = {}, flags: string[] = []): Promise<Node> {
    const config = join(work, `${name}.yaml`);
    const kind = { apiVersion: 'kubelet.config.k8s.io/v1beta1', kind: 'KubeletConfiguration' };
    await writeFile(config, JSON.stringify({ ...kind, ...fields }));
    const loaded = loadConfiguration([`--config=${config}`, `--root-dir=${join(work, name)}`, ...flags], 'v1.36.0');
    assert.ok(!('print' in loaded));
    const events: string[] = [];
    const client = {
      get: async () => ({ metadata: { name: 'builder', uid: 'sa-uid', annotations: {} } }),
    } as unknown as ApiClient;
    const parts = {
      settings: resolveSettings(loaded),
      client,
      clock: systemClock,
      exec: systemExec,
      logger: pino({ level: 'silent' }),
      metrics: createMetrics(),
    } as unknown as AgentParts;
    const objects = {
      secret: async (_: string, __: string, key: string) => secrets.get(key),
    } as unknown as ObjectCache;
    const tokens = {
      issue: async () => ({ token: 'pod-token', expiresAtMs: 0 }),
      token: async () => 'pod-token',
      release: () => undefined,
    };
    const { ensureImage, credentials } = await wireImages(parts, {
      images,
      objects,
      tokens,
      record: (_, type, reason, message) => void events.push(`${type} ${reason}: ${message}`),
      backoff: createKeyBackoff(systemClock, 10_000, 300_000),
    });
    return {
      events,
      metrics: async () => (await parts.metrics.render()).body,
      ensure: async (image, { policy, secrets: names = [] } = {}) => {
        pods += 1;
        const pod: Pod = {
          apiVersion: 'v1',
          kind: 'Pod',
          metadata: { name: `pod-${pods}`, namespace: 'shop', uid: `uid-${pods}` },
          spec: {
            serviceAccountName: 'builder',
            containers: [],
            imagePullSecrets: names.map((secret) => ({ name: secret })),
          },
        };
        const container = { name: 'main', image, ...(policy === undefined ? {} : { imagePullPolicy: policy }) };
        const sandbox = { metadata: { name: pod.metadata.name, uid: pod.metadata.uid, namespace: 'shop', attempt: 0 } };
        const own = (asked: string) => credentials(pod, asked);
        return ensureImage(pod, container, sandbox as never, own, AbortSignal.timeout(30_000));
      },
    };
  }

  function addSecret(name: string, config: object): string {
    const data = { '.dockerconfigjson': Buffer.from(JSON.stringify(config)).toString('base64') };
    secrets.set(name, {
      apiVersion: 'v1',
      kind: 'Secret',
      metadata: { name, namespace: 'shop', uid: `uid-of-${name}` },
      data,
    });
    return name;
  }
  const auths = (pattern: string, username: string, password: string) => ({
    auths: { [pattern]: { username, password } },
  });
  const at = (repository: string, tag = ':1') => `${registry.host}/${repository}${tag}`;

  it('are pulled by tag and by digest, once, with what it took in the event', async () => {
    const node = await startNode('plain');
    const { id } = await node.ensure(at('open/one'));
    assert.match(id, /^sha256:[0-9a-f]{64}$/);
    assert.equal(node.events[0], `Normal Pulling: Pulling image "${at('open/one')}"`);
    const size = (await images.imageStatus({ image: id }))?.size;
    const took = `Successfully pulled image "${at('open/one')}" in \\d+(\\.\\d+)?m?s \\(\\d+(\\.\\d+)?m?s including waiting\\)`;
    assert.match(node.events[1] ?? '', new RegExp(`^Normal Pulled: ${took}\\. Image size: ${size} bytes\\.$`));
    await node.ensure(at('open/one'), { policy: 'IfNotPresent' });
    assert.match(node.events[2] ?? '', /already present on machine and can be accessed by the pod$/);
    assert.equal((await node.ensure(at('open/one', `@${registry.digest}`))).id, id);
    const pulls = registry.pulls.length;
    await node.ensure(at('open/one'), { policy: 'Always' });
    await node.ensure(at('open/one', ':latest'));
    assert.ok(registry.pulls.length >= pulls + 2, 'Always asks the registry, and so does the tag latest by default');
    const counts = await node.metrics();
    for (const [labels, count] of [
      ['{present_locally="false",pull_policy="ifnotpresent",pull_required="true"}', 1],
      ['{present_locally="true",pull_policy="ifnotpresent",pull_required="false"}', 2],
      ['{present_locally="unknown",pull_policy="always",pull_required="true"}', 2],
    ]) {
      assert.ok(counts.includes(`kubelet_image_manager_ensure_image_requests_total${labels} ${count}\n`), `${labels}`);
    }
    assert.match(counts, /^kubelet_imagemanager_image_mustpull_checks_total\{result="credentialRecordFound"\} 2$/m);
  });

  it('fail in words that say why, and back off', async () => {
    const node = await startNode('failing');
    const never = node.ensure(at('open/absent'), { policy: 'Never' });
    await assert.rejects(never, { reason: 'ErrImageNeverPull', message: /is not present with pull policy of Never$/ });
    await assert.rejects(node.ensure('a b'), {
      reason: 'InvalidImageName',
      message: /couldn't parse image name "a b"/,
    });
    registry.rules.set('open/broken', { failure: 503 });
    await assert.rejects(node.ensure(at('open/broken')), {
      reason: 'ErrImagePull',
      message: /503 Service Unavailable/,
    });
    assert.match(node.events.at(-1) ?? '', /^Warning Failed: Failed to pull image ".*": .*503/);
    await assert.rejects(node.ensure('127.0.0.1:1/x:1'), { reason: 'ErrImagePull', message: /connection refused/ });
  });

  for (const tokens of [false, true]) {
    it(`are pulled with a secret ${tokens ? 'that buys a token' : 'directly'}, and by nobody without`, async () => {
      const node = await startNode(`secret-${tokens}`);
      const repository = `private/secret-${tokens}`;
      registry.rules.set(repository, { users: { team: 'word' }, tokens });
      const refused = await node.ensure(at(repository)).catch((error: Error) => error);
      assert.match((refused as Error).message, /authorization failed|401 Unauthorized/);
      const wrong = addSecret('wrong', auths(registry.host, 'team', 'other'));
      const right = addSecret('right', auths(`${registry.host}/private`, 'team', 'word'));
      const elsewhere = addSecret('elsewhere', auths('registry.example', 'team', 'word'));
      await assert.rejects(node.ensure(at(repository), { secrets: [wrong, elsewhere] }), { reason: 'ErrImagePull' });
      await node.ensure(at(repository), { secrets: [wrong, right] });
      assert.equal(registry.pulls.at(-1), `team ${repository}`);
      // Its content is on the node; without the secret it stays closed, with another secret of the same words not.
      await assert.rejects(node.ensure(at(repository)), { reason: 'ErrImagePull' });
      await assert.rejects(node.ensure(at(repository), { policy: 'Never' }), {
        reason: 'ErrImageNeverPull',
        message: /present, but not for this pod's credentials/,
      });
      const before = registry.pulls.length;
      const twin = addSecret('twin', auths(registry.host, 'team', 'word'));
      await node.ensure(at(repository), { secrets: [twin] });
      assert.equal(registry.pulls.length, before, 'the registry is not asked again');
      // Nor does a new agent on the same node open it.
      const again = await startNode(`secret-${tokens}`);
      await assert.rejects(again.ensure(at(repository)), { reason: 'ErrImagePull' });
      await again.ensure(at(repository), { secrets: [right] });
      const lax = await startNode(`secret-${tokens}`, { imagePullCredentialsVerificationPolicy: 'NeverVerify' });
      await lax.ensure(at(repository));
      const records = join(work, `secret-${tokens}`, 'image_manager', 'pulled');
      assert.doesNotMatch(await systemExec('grep', ['-r', 'word', records]).then(({ stdout }) => stdout), /word/);
    });
  }

  it('are pulled with what the node itself has, and are then every pod’s', async () => {
    const node = await startNode('own');
    registry.rules.set('private/own', { users: { node: 'word' } });
    await mkdir(join(work, 'own'), { recursive: true });
    await writeFile(join(work, 'own/config.json'), JSON.stringify(auths(registry.host, 'node', 'word')));
    await node.ensure(at('private/own'));
    const before = registry.pulls.length;
    await node.ensure(at('private/own'), { policy: 'Never' });
    assert.equal(registry.pulls.length, before);
  });

  it('are pulled with what a credential provider says', async () => {
    const binDir = join(work, 'providers');
    await mkdir(binDir);
    const asked = join(work, 'asked');
    const apiVersion = 'credentialprovider.kubelet.k8s.io/v1';
    const answer = {
      apiVersion,
      kind: 'CredentialProviderResponse',
      cacheKeyType: 'Registry',
      auth: { [registry.host]: { username: 'plugin', password: 'word' } },
    };
    const text = `#!/bin/sh\n[ "$1" = --get ] && [ "$ZONE" = one ] || exit 1\ncat >> ${asked}\necho '${JSON.stringify(answer)}'\n`;
    await writeFile(join(binDir, 'plugin'), text, { mode: 0o755 });
    const provider = {
      name: 'plugin',
      apiVersion,
      matchImages: [registry.host],
      defaultCacheDuration: '1m',
      args: ['--get'],
      env: [{ name: 'ZONE', value: 'one' }],
      tokenAttributes: {
        serviceAccountTokenAudience: 'registry',
        requireServiceAccount: true,
        cacheType: 'ServiceAccount',
      },
    };
    const config = join(work, 'providers.json');
    const kind = { apiVersion: 'kubelet.config.k8s.io/v1', kind: 'CredentialProviderConfig' };
    await writeFile(config, JSON.stringify({ ...kind, providers: [provider] }));
    const flags = [`--image-credential-provider-config=${config}`, `--image-credential-provider-bin-dir=${binDir}`];
    const node = await startNode('provided', {}, flags);
    registry.rules.set('private/provided', { users: { plugin: 'word' } });
    registry.rules.set('private/provided-too', { users: { plugin: 'word' } });
    await node.ensure(at('private/provided'));
    await node.ensure(at('private/provided-too'));
    const requests = await readFile(asked, 'utf8');
    assert.equal(requests.match(/CredentialProviderRequest/g)?.length, 1, 'the answer is kept for the registry');
    const request = JSON.parse(requests);
    assert.equal(request.image, `${registry.host}/private/provided`);
    assert.equal(request.serviceAccountToken, 'pod-token');
    // The account opened it: pods of the account may use it.
    await node.ensure(at('private/provided'), { policy: 'Never' });
    const other = await startNode('provided');
    await assert.rejects(other.ensure(at('private/provided'), { policy: 'Never' }), { reason: 'ErrImageNeverPull' });
    await assert.rejects(startNode('half', {}, flags.slice(1)), /go together/);
  });

  it('are pulled one after the other, or as many at once as configured', async () => {
    const names = ['a', 'b', 'c', 'd'].map((letter) => `slow/${letter}`);
    for (const name of names) registry.rules.set(name, { delayMs: 150 });
    const timed = async (node: Node, tag: string) => {
      const startedMs = Date.now();
      await Promise.all(names.map((name) => node.ensure(at(name, tag), { policy: 'Always' })));
      return Date.now() - startedMs;
    };
    const serialMs = await timed(await startNode('serial'), ':1');
    const parallelMs = await timed(
      await startNode('parallel', { serializeImagePulls: false, maxParallelImagePulls: 4 }),
      ':2',
    );
    assert.ok(parallelMs < serialMs * 0.75, `${parallelMs} ms at once, ${serialMs} ms one after the other`);
    const limited = await startNode('limited', { registryPullQPS: 1, registryBurst: 1 });
    const answers = await Promise.allSettled([limited.ensure(at('open/q1')), limited.ensure(at('open/q2'))]);
    const refused = answers.filter(({ status }) => status === 'rejected');
    assert.equal(refused.length, 1);
    assert.match(String((refused[0] as PromiseRejectedResult).reason), /pull QPS exceeded/);
  });
});

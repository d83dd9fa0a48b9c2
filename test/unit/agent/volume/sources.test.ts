import assert from 'node:assert/strict';
import { linkSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import type { ClusterTrustBundle } from '#kube/api/generated/certificates-v1beta1.ts';
import type { PersistentVolume, PersistentVolumeClaim, Volume } from '#kube/api/generated/core-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { WatchOptions } from '#kube/client/types.ts';
import { failure } from '#kube/errors/status-error.ts';
import { systemClock } from '#kube/process/clock.ts';
import { isRecursivelyReadOnly } from '../../../../agent/container/container-mounts.ts';
import { createClaimReader } from '../../../../agent/volume/claim-reader.ts';
import { measureDirectory } from '../../../../agent/volume/measure-usage.ts';
import { createTrustBundles, mergeCertificates, selectBundles } from '../../../../agent/volume/trust-bundles.ts';
import { fakeApiClient } from '../../../support/fake-api-client.ts';
import { container, podOf } from '../fixtures.ts';

const signal = new AbortController().signal;

describe('createClaimReader', () => {
  const volumeMounts = [{ name: 'v', mountPath: '/v' }];
  const pod = podOf({ containers: [container('c', { volumeMounts })] });
  const source: Volume = { name: 'v', persistentVolumeClaim: { claimName: 'data' } };
  const claim = (fields: Partial<PersistentVolumeClaim> = {}): PersistentVolumeClaim => ({
    apiVersion: 'v1',
    kind: 'PersistentVolumeClaim',
    metadata: { name: 'data', namespace: 'shop', uid: 'claim-1' },
    spec: { volumeName: 'pv' },
    status: { phase: 'Bound' },
    ...fields,
  });
  const volume = (spec: Partial<PersistentVolume['spec']> = {}): PersistentVolume => ({
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: 'pv' },
    spec: { claimRef: { uid: 'claim-1' }, ...spec },
  });
  const read = (claims: PersistentVolumeClaim | undefined, volumes: PersistentVolume | undefined, of = source) => {
    const client = fakeApiClient({
      get: async <T extends KubeObject>({ plural }: Resource<T>) => {
        const found = plural === 'persistentvolumes' ? volumes : claims;
        if (found === undefined) throw failure(404, 'NotFound', `${plural} not found`);
        return found as unknown as T;
      },
    });
    return createClaimReader(client).read(pod, of, signal);
  };

  it('answers claim and volume', async () => {
    const bound = await read(claim(), volume(), {
      name: 'v',
      persistentVolumeClaim: { claimName: 'data', readOnly: true },
    });
    assert.deepEqual([bound?.claim.metadata.name, bound?.volume.metadata.name, bound?.readOnly], ['data', 'pv', true]);
  });

  it('has nothing to do with other volumes', async () =>
    assert.equal(await read(undefined, undefined, { name: 'v', emptyDir: {} }), undefined));

  const wrong = 'error processing PVC shop/data: ';
  const deleted = { ...claim().metadata, deletionTimestamp: '2026-01-01T00:00:00Z' };
  const refusals: [string, PersistentVolumeClaim | undefined, PersistentVolume | undefined, string][] = [
    [
      'is missing',
      undefined,
      undefined,
      `${wrong}failed to fetch PVC from API server: persistentvolumeclaims not found`,
    ],
    ['is being deleted', claim({ metadata: deleted }), volume(), `${wrong}PVC is being deleted`],
    ['is not bound', claim({ status: { phase: 'Pending' } }), volume(), `${wrong}PVC is not bound`],
    ['names no volume', claim({ spec: {} }), volume(), `${wrong}PVC has empty pvc.Spec.VolumeName`],
    [
      'has lost its volume',
      claim(),
      undefined,
      `${wrong}failed to fetch PV pv from API server: persistentvolumes not found`,
    ],
    [
      'is not known to its volume',
      claim(),
      volume({ claimRef: undefined }),
      `${wrong}found PV object pv but it has a nil pv.Spec.ClaimRef indicating it is not yet bound to the claim`,
    ],
    [
      'is another than its volume knows',
      claim(),
      volume({ claimRef: { uid: 'other' } }),
      `${wrong}found PV object pv but its pv.Spec.ClaimRef.UID other does not point to claim.UID claim-1`,
    ],
    [
      'gives a device to be mounted',
      claim(),
      volume({ volumeMode: 'Block' }),
      'volume v has volumeMode Block, but is specified in volumeMounts',
    ],
  ];
  for (const [what, claims, volumes, message] of refusals) {
    it(`refuses a claim that ${what}`, () => assert.rejects(read(claims, volumes), { message, code: 'VOLUME' }));
  }

  it("refuses another pod's ephemeral volume", () =>
    assert.rejects(read(claim(), volume(), { name: 'v', ephemeral: {} }), {
      message: 'error processing PVC shop/web-v: PVC shop/data was not created for pod shop/web (pod is not owner)',
    }));
});

describe('cluster trust bundles', () => {
  const bundle = (name: string, signerName: string | undefined, labels = {}): ClusterTrustBundle => ({
    apiVersion: 'certificates.k8s.io/v1beta1',
    kind: 'ClusterTrustBundle',
    metadata: { name, labels },
    spec: { trustBundle: '', ...(signerName === undefined ? {} : { signerName }) },
  });
  const bundles = [bundle('a', undefined), bundle('s:b', 's', { tier: 'x' }), bundle('t:c', 't', { tier: 'x' })];
  const names = (projection: Parameters<typeof selectBundles>[1]) =>
    selectBundles(bundles, projection).map(({ metadata }) => metadata.name);

  it('are chosen by name, or by signer and labels', () => {
    assert.deepEqual(names({ path: 'p', name: 'a' }), ['a']);
    assert.deepEqual(names({ path: 'p', signerName: 's', labelSelector: { matchLabels: { tier: 'x' } } }), ['s:b']);
    assert.deepEqual(names({ path: 'p', signerName: 's', labelSelector: {} }), ['s:b']);
    assert.deepEqual(names({ path: 'p', signerName: 's' }), []);
  });

  it('are read from the API server, and say when there are none', async () => {
    const client = fakeApiClient({
      async *watch<T extends KubeObject>(_: Resource<T>, { signal: ended }: WatchOptions) {
        for (const object of bundles) yield { type: 'ADDED', object: object as unknown as T } as const;
        const annotations = { 'k8s.io/initial-events-end': 'true' };
        const mark = { metadata: { name: '', resourceVersion: '1', annotations } };
        yield { type: 'BOOKMARK', object: mark as unknown as T } as const;
        await new Promise((resolve) => ended?.addEventListener('abort', resolve, { once: true }));
      },
    });
    const logger = pino({ level: 'silent' });
    const read = createTrustBundles({ client, clock: systemClock, logger, changed: () => undefined });
    assert.equal(await read.anchors('uid', { path: 'p', name: 'a' }), '');
    assert.equal(await read.anchors('uid', { path: 'p', name: 'none', optional: true }), '');
    await assert.rejects(read.anchors('uid', { path: 'p', name: 'none' }), {
      message: 'clustertrustbundle.certificates.k8s.io "none" not found',
    });
    await assert.rejects(read.anchors('uid', { path: 'p', signerName: 'none', labelSelector: {} }), {
      message: 'combination of signerName and labelSelector matched zero ClusterTrustBundles',
    });
    await read.close();
  });

  it('give every certificate once, whatever the order', () => {
    const pem = (body: string) => `-----BEGIN CERTIFICATE-----\n${body}\n-----END CERTIFICATE-----\n`;
    const merged = mergeCertificates([`note\n${pem('QUJD')}`, `${pem('QQ==')}${pem('QUJD')}`]);
    assert.equal(merged, pem('QQ==') + pem('QUJD'));
    assert.equal(mergeCertificates([pem('QUJD'), pem('QQ==')]), merged);
  });
});

describe('isRecursivelyReadOnly', () => {
  const mount = { name: 'v', mountPath: '/v', readOnly: true };
  it('follows the mount where the runtime can', () => {
    assert.equal(isRecursivelyReadOnly({ ...mount, recursiveReadOnly: 'Enabled' }, true), true);
    assert.equal(isRecursivelyReadOnly({ ...mount, recursiveReadOnly: 'IfPossible' }, true), true);
    assert.equal(isRecursivelyReadOnly({ ...mount, recursiveReadOnly: 'IfPossible' }, false), false);
    assert.equal(isRecursivelyReadOnly({ ...mount, recursiveReadOnly: 'Disabled' }, true), false);
    assert.equal(isRecursivelyReadOnly(mount, true), false);
  });
  it('refuses what cannot be', () => {
    const enabled = { ...mount, recursiveReadOnly: 'Enabled' };
    const message = 'volume "v" requested recursiveReadOnly mode, but it is not';
    assert.throws(() => isRecursivelyReadOnly(enabled, false), { message: `${message} supported by the runtime` });
    assert.throws(() => isRecursivelyReadOnly({ ...enabled, readOnly: false }, true), {
      message: `${message} read-only`,
    });
    assert.throws(() => isRecursivelyReadOnly({ ...enabled, mountPropagation: 'Bidirectional' }, true), {
      message: `${message} compatible with propagation "Bidirectional"`,
    });
  });
});

describe('measureDirectory', () => {
  let root = '';
  beforeEach(() => {
    root = mkdtempSync(join(tmpdir(), 'measure-'));
  });
  afterEach(() => rmSync(root, { recursive: true, force: true }));

  it('counts each file once, however many names it has', async () => {
    mkdirSync(join(root, 'd'));
    writeFileSync(join(root, 'd/f'), Buffer.alloc(64 * 1024, 1));
    linkSync(join(root, 'd/f'), join(root, 'same'));
    const { usedBytes, inodesUsed } = await measureDirectory(root);
    assert.equal(inodesUsed, 3);
    assert.ok(usedBytes >= 64 * 1024 && usedBytes < 100 * 1024, `${usedBytes}`);
  });
});

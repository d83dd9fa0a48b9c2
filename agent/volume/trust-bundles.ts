// Certificates of ClusterTrustBundles for projected volumes: one watch on all of them, opened with the first pod that
// asks (pkg/kubelet/clustertrustbundle).
import type { Logger } from 'pino';
import type { ClusterTrustBundle } from '#kube/api/generated/certificates-v1beta1.ts';
import type { ClusterTrustBundleProjection } from '#kube/api/generated/core-v1.ts';
import { labelSelectorMatches } from '#kube/api/label-selector.ts';
import type { Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { VolumeError } from './payload.ts';

const resource: Resource<ClusterTrustBundle> = {
  group: 'certificates.k8s.io',
  version: 'v1beta1',
  plural: 'clustertrustbundles',
  singular: 'clustertrustbundle',
  kind: 'ClusterTrustBundle',
  namespaced: false,
};
/** An API server that does not serve the kind lets nobody wait longer. */
const patienceMs = 10_000;

export interface TrustBundles {
  /** The certificates that the projection names, as PEM. Throws VolumeError. */
  anchors(podUid: string, projection: ClusterTrustBundleProjection): Promise<string>;
  release(podUid: string): void;
  close(): Promise<void>;
}

export interface TrustBundlesOptions {
  client: ApiClient;
  clock: Clock;
  logger: Logger;
  /** A bundle changed; these pods use some. */
  changed(podUids: string[]): void;
}

/** The certificates of all bundles, each once, in an order that depends on nothing but them. */
export function mergeCertificates(bundles: readonly string[]): string {
  const blocks = new Set<string>();
  for (const text of bundles) {
    for (const [, body = ''] of text.matchAll(/-----BEGIN CERTIFICATE-----([\s\S]*?)-----END CERTIFICATE-----/g)) {
      blocks.add(body.replace(/\s+/g, ''));
    }
  }
  const wrapped = (body: string) => body.match(/.{1,64}/g)?.join('\n') ?? '';
  return [...blocks]
    .sort()
    .map((body) => `-----BEGIN CERTIFICATE-----\n${wrapped(body)}\n-----END CERTIFICATE-----\n`)
    .join('');
}

/** The bundles that a projection names. Pure. */
export function selectBundles(
  bundles: readonly ClusterTrustBundle[],
  { name, signerName, labelSelector }: ClusterTrustBundleProjection,
): ClusterTrustBundle[] {
  if (name !== undefined) return bundles.filter(({ metadata }) => metadata.name === name);
  // No selector means none, an empty one means all.
  if (labelSelector === undefined) return [];
  return bundles.filter(
    ({ metadata, spec }) => spec.signerName === signerName && labelSelectorMatches(labelSelector, metadata.labels),
  );
}

/** Creates the reader; nothing is watched before it is asked. */
export function createTrustBundles(options: TrustBundlesOptions): TrustBundles {
  const { clock } = options;
  const users = new Set<string>();
  const stop = new AbortController();
  let opened: { informer: Informer<ClusterTrustBundle>; done: Promise<void> } | undefined;

  function open(): Informer<ClusterTrustBundle> {
    if (opened !== undefined) return opened.informer;
    const informer = createInformer({ client: options.client, resource, clock, logger: options.logger });
    const changed = () => {
      if (informer.hasSynced) options.changed([...users]);
    };
    informer.subscribe({ added: changed, updated: changed, deleted: changed });
    opened = { informer, done: informer.run(stop.signal) };
    return informer;
  }

  return {
    async anchors(podUid, projection) {
      users.add(podUid);
      const informer = open();
      if (!informer.hasSynced) {
        const patience = new AbortController();
        await Promise.race([informer.synced, clock.sleep(patienceMs, patience.signal).catch(() => undefined)]);
        patience.abort();
      }
      if (!informer.hasSynced) throw new VolumeError('ClusterTrustBundles cannot be read from the API server');
      const found = selectBundles(informer.list(), projection);
      if (found.length > 0) return mergeCertificates(found.map(({ spec }) => spec.trustBundle));
      if (projection.optional === true) return '';
      if (projection.name !== undefined) {
        throw new VolumeError(`clustertrustbundle.certificates.k8s.io "${projection.name}" not found`);
      }
      throw new VolumeError('combination of signerName and labelSelector matched zero ClusterTrustBundles');
    },
    release: (podUid) => void users.delete(podUid),
    async close() {
      stop.abort();
      await opened?.done;
    },
  };
}

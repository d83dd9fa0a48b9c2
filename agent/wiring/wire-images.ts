// What brings images to the node: credentials of pods and of provider plugins, the records of pulls, the puller.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { serviceaccounts } from '#kube/api/generated/resources.ts';
import { createCredentialsSource } from '../image/credentials-source.ts';
import { createEnsureImage } from '../image/ensure-image.ts';
import { createCredentialProvider, type ServiceAccounts } from '../image/provider/credential-provider.ts';
import { loadProviders } from '../image/provider/provider-config.ts';
import { createPullRate } from '../image/pull-rate.ts';
import { openPullRecords } from '../image/records/pull-records.ts';
import { createVerificationPolicy } from '../image/records/verification-policy.ts';
import { registerImageMetrics } from '../server/metrics/image-metrics.ts';
import type { KeyBackoff } from '../sync/key-backoff.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import type { ObjectCache } from '../volume/object-cache.ts';
import type { TokenManager } from '../volume/token-manager.ts';
import type { AgentParts } from './agent-parts.ts';
import type { RuntimeParts } from './wire-runtime.ts';

/** Tokens for credential providers live as long as the API's default. */
const tokenSeconds = 3600;

export interface ImageConnections {
  images: RuntimeParts['images'];
  objects: ObjectCache;
  tokens: TokenManager;
  record: RecordPodEvent;
  backoff: KeyBackoff;
}

/** Connects images. Throws UsageError for a configuration that cannot be used. */
export async function wireImages(parts: AgentParts, connections: ImageConnections) {
  const { settings, client, clock, exec, logger } = parts;
  const { images, objects, tokens, record, backoff } = connections;
  const observed = registerImageMetrics(parts.metrics.registry);
  const accounts: ServiceAccounts = {
    async get(namespace, name) {
      const { metadata } = await client.get(serviceaccounts, { namespace, name });
      return { uid: metadata.uid ?? '', annotations: metadata.annotations ?? {} };
    },
    token: (pod: Pod, audience) => tokens.token(pod, { audience, expirationSeconds: tokenSeconds }),
  };
  const { credentialProviders } = settings;
  const configured =
    credentialProviders === undefined ? [] : loadProviders(credentialProviders.config, credentialProviders.binDir);
  const tools = { exec, clock, logger, serviceAccounts: accounts };
  const providers = configured.map((provider) => createCredentialProvider(provider, tools));
  const policy = createVerificationPolicy(settings.pullVerification, settings.pullVerificationAllowlist);
  const records = await openPullRecords({
    ...{ rootDir: settings.rootDir, policy, images, clock, logger },
    checked: observed.checked,
  });
  const mayPull = createPullRate(clock, settings.pullQps, settings.pullBurst);
  const { parallelPulls } = settings;
  return {
    credentials: createCredentialsSource(objects, settings.rootDir, providers),
    ensureImage: createEnsureImage({
      ...{ images, clock, logger, record, backoff, parallelPulls, records, mayPull },
      observe: observed.ensured,
    }),
    observed,
  };
}

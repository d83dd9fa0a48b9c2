// Signs the kubeconfig in cluster-info with every bootstrap token that may be used for it, and takes away the
// signatures of tokens that are gone.
import type { ConfigMap, Secret } from '#kube/api/generated/core-v1.ts';
import { configmaps, secrets } from '#kube/api/generated/resources.ts';
import {
  clusterInfoName,
  clusterInfoNamespace,
  signatureKey,
  signKubeconfig,
  tokenIdOfKey,
} from '#kube/bootstrap/cluster-info.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import type { Informer } from '#kube/informer/types.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { expiresInMs, fieldOf } from './token-secret.ts';

const kubeconfigKey = 'kubeconfig';

/** Bootstrap tokens, watched with the rights of the controller. */
export function tokenInformer({ client, clock, logger }: ControllerContext): Informer<Secret> {
  return createInformer<Secret>({
    client,
    resource: secrets,
    namespace: 'kube-system',
    fieldSelector: 'type=bootstrap.kubernetes.io/token',
    clock,
    logger,
  });
}

/** The data cluster-info should have: signatures by exactly the tokens that may sign. */
export function signedData(
  data: Readonly<Record<string, string>>,
  tokens: readonly Secret[],
  nowMs: number,
): Record<string, string> {
  const kubeconfig = data[kubeconfigKey];
  const signed = Object.fromEntries(Object.entries(data).filter(([key]) => tokenIdOfKey(key) === undefined));
  if (kubeconfig === undefined) return signed;
  for (const token of tokens) {
    const [id, secret] = [fieldOf(token, 'token-id'), fieldOf(token, 'token-secret')];
    const maySign = fieldOf(token, 'usage-bootstrap-signing') === 'true' && expiresInMs(token, nowMs) > 0;
    if (maySign && id !== '' && secret !== '') signed[signatureKey(id)] = signKubeconfig(kubeconfig, { id, secret });
  }
  return signed;
}

/** Creates the controller. */
export function createBootstrapSigner(context: ControllerContext): Controller {
  const { client, clock, logger } = context;
  const queue = createControllerQueue(context);
  const tokens = tokenInformer(context);
  const again = () => queue.add(clusterInfoName);
  tokens.subscribe({ added: again, updated: again, deleted: again });
  const clusterInfo = createInformer<ConfigMap>({
    client,
    resource: configmaps,
    namespace: clusterInfoNamespace,
    fieldSelector: `metadata.name=${clusterInfoName}`,
    clock,
    logger,
  });
  clusterInfo.subscribe({ added: again, updated: again });

  async function sync(): Promise<void> {
    const stored = clusterInfo.get(`${clusterInfoNamespace}/${clusterInfoName}`);
    if (stored === undefined) return;
    const data = signedData(stored.data ?? {}, tokens.list(), clock.now());
    const isSame =
      Object.keys(data).length === Object.keys(stored.data ?? {}).length &&
      Object.entries(data).every(([key, value]) => stored.data?.[key] === value);
    if (!isSame) await client.update(configmaps, { ...stored, data });
  }

  const worker = { run: (signal: AbortSignal) => queue.run(sync, { concurrency: 1, signal }) };
  return { name: context.name, run: (signal) => runGroup([tokens, clusterInfo, worker], signal) };
}

// Fills Secrets of type kubernetes.io/service-account-token with a token of their account, and removes them when the
// account is gone. Tokens come from the TokenRequest API, bound to the secret: they end with it.
import type { TokenRequest } from '#kube/api/generated/authentication-v1.ts';
import type { Secret } from '#kube/api/generated/core-v1.ts';
import { secrets, serviceaccounts } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';

const accountAnnotation = 'kubernetes.io/service-account.name';
const accountUidAnnotation = 'kubernetes.io/service-account.uid';
/** These tokens have no end of their own; the longest time that a request may ask for. */
const tokenSeconds = 2 ** 32;

const encode = (text: string) => Buffer.from(text).toString('base64');

/** `sharedClient` watches and writes: the role of the controller manager covers tokens and secrets. */
export function createTokenSecretController(
  context: ControllerContext,
  sharedClient: ApiClient,
  rootCaPem: string,
): Controller {
  const { informers, clock, logger } = context;
  const queue = createControllerQueue(context);
  const tokenSecrets = createInformer<Secret>({
    client: sharedClient,
    resource: secrets,
    fieldSelector: 'type=kubernetes.io/service-account-token',
    clock,
    logger,
  });
  tokenSecrets.subscribe({
    added: (secret) => queue.add(objectKey(secret)),
    updated: (_, secret) => queue.add(objectKey(secret)),
  });
  const accountChanged = ({ metadata }: { metadata: { namespace?: string | undefined; name: string } }) => {
    for (const secret of tokenSecrets.byNamespace(metadata.namespace ?? '')) {
      if (secret.metadata.annotations?.[accountAnnotation] === metadata.name) queue.add(objectKey(secret));
    }
  };
  informers.serviceaccounts.subscribe({ added: accountChanged, deleted: accountChanged });

  function isFilled({ data }: Secret, namespace: string): boolean {
    return (
      (data?.['token'] ?? '') !== '' &&
      data?.['ca.crt'] === encode(rootCaPem) &&
      data['namespace'] === encode(namespace)
    );
  }

  async function fill(secret: Secret, namespace: string, account: { name: string; uid: string }): Promise<void> {
    let { token } = secret.data ?? {};
    if (token === undefined || token === '') {
      const { name, uid } = secret.metadata;
      const spec = {
        audiences: [],
        expirationSeconds: tokenSeconds,
        boundObjectRef: { apiVersion: 'v1', kind: 'Secret', name, uid },
      };
      const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', metadata: {}, spec };
      const key = { namespace, name: account.name };
      const answer = await sharedClient.createSubresource<object, TokenRequest>(serviceaccounts, key, 'token', request);
      token = encode(answer.status?.token ?? '');
    }
    const annotations = { ...secret.metadata.annotations, [accountUidAnnotation]: account.uid };
    const data = { ...secret.data, token, 'ca.crt': encode(rootCaPem), namespace: encode(namespace) };
    await sharedClient.update(secrets, { ...secret, metadata: { ...secret.metadata, annotations }, data });
  }

  async function sync(key: string): Promise<void> {
    const secret = tokenSecrets.get(key);
    if (secret === undefined || secret.metadata.deletionTimestamp !== undefined) return;
    const { namespace = '', name, uid, annotations } = secret.metadata;
    const accountName = annotations?.[accountAnnotation];
    const account =
      accountName === undefined ? undefined : informers.serviceaccounts.get(`${namespace}/${accountName}`);
    const wantedUid = annotations?.[accountUidAnnotation];
    try {
      if (
        accountName !== undefined &&
        account?.metadata.uid !== undefined &&
        (wantedUid ?? account.metadata.uid) === account.metadata.uid
      ) {
        if (isFilled(secret, namespace) && wantedUid !== undefined) return;
        await fill(secret, namespace, { name: accountName, uid: account.metadata.uid });
        return;
      }
      if (accountName === undefined) return;
      // The cache may be behind: only an account that the server does not know makes the secret void.
      const found = await sharedClient
        .get(serviceaccounts, { namespace, name: accountName })
        .catch((error: unknown) => {
          if (isNotFound(error)) return undefined;
          throw error;
        });
      if (found !== undefined && (wantedUid === undefined || found.metadata.uid === wantedUid)) return;
      await sharedClient.delete(secrets, { namespace, name }, { preconditions: { uid } });
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
      if (isConflict(error)) queue.addAfter(key, 50);
    }
  }

  const worker = { run: async (signal: AbortSignal) => queue.run(sync, { concurrency: 2, signal }) };
  return { name: context.name, run: async (signal) => runGroup([tokenSecrets, worker], signal) };
}

// Deletes bootstrap tokens when their time is over.
import type { Secret } from '#kube/api/generated/core-v1.ts';
import { secrets } from '#kube/api/generated/resources.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { runGroup } from '#kube/process/component.ts';
import { type Controller, type ControllerContext, createControllerQueue } from '../controller.ts';
import { tokenInformer } from './bootstrap-signer.ts';
import { expiresInMs } from './token-secret.ts';

/** Creates the controller. */
export function createTokenCleaner(context: ControllerContext): Controller {
  const { client, clock } = context;
  const queue = createControllerQueue(context);
  const tokens = tokenInformer(context);
  const seen = (token: Secret) => queue.add(objectKey(token));
  tokens.subscribe({ added: seen, updated: (_, token) => seen(token) });

  async function sync(key: string): Promise<void | { requeueAfterMs: number }> {
    const token = tokens.get(key);
    if (token === undefined) return undefined;
    const leftMs = expiresInMs(token, clock.now());
    if (leftMs === Number.POSITIVE_INFINITY) return undefined;
    if (leftMs > 0) return { requeueAfterMs: leftMs };
    const { name, namespace, uid = '' } = token.metadata;
    await client.delete(secrets, { namespace, name }, { preconditions: { uid } }).catch((error: unknown) => {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    });
    return undefined;
  }

  const worker = { run: (signal: AbortSignal) => queue.run(sync, { concurrency: 1, signal }) };
  return { name: context.name, run: (signal) => runGroup([tokens, worker], signal) };
}

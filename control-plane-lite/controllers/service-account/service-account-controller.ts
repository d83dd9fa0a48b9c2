// Keeps a ServiceAccount `default` in every namespace that is not being deleted.
import { serviceaccounts } from '#kube/api/generated/resources.ts';
import { isAlreadyExists } from '#kube/errors/status-error.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';

const accountName = 'default';

/** Pods cannot be made in a namespace before it has worked there. */
export function createServiceAccountController(context: ControllerContext): Controller {
  const { informers, client } = context;
  const queue = createControllerQueue(context);
  informers.namespaces.subscribe({
    added: ({ metadata }) => queue.add(metadata.name),
    updated: (_, { metadata }) => queue.add(metadata.name),
  });
  informers.serviceaccounts.subscribe({
    deleted: ({ metadata }) => {
      if (metadata.name === accountName) queue.add(metadata.namespace ?? '');
    },
  });

  async function sync(name: string): Promise<void> {
    const namespace = informers.namespaces.get(name);
    if (namespace === undefined || namespace.status?.phase === 'Terminating') return;
    if (namespace.metadata.deletionTimestamp !== undefined) return;
    if (informers.serviceaccounts.get(`${name}/${accountName}`) !== undefined) return;
    try {
      await client.create(serviceaccounts, name, { metadata: { name: accountName, namespace: name } });
    } catch (error) {
      if (!isAlreadyExists(error)) throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 4 });
}

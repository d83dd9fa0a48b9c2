// Keeps a ConfigMap `kube-root-ca.crt` in every namespace, with which pods verify the API server.
import { configmaps } from '#kube/api/generated/resources.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import { type Controller, type ControllerContext, createControllerQueue, queueController } from '../controller.ts';

const configMapName = 'kube-root-ca.crt';
const annotations = {
  'kubernetes.io/description':
    'Contains a CA bundle that can be used to verify the kube-apiserver when using internal endpoints such as the internal service IP or kubernetes.default.svc. No other usage is guaranteed across distributions of Kubernetes clusters.',
};

/** `rootCaPem` is what every namespace gets. */
export function createRootCaPublisher(context: ControllerContext, rootCaPem: string): Controller {
  const { informers, client } = context;
  const queue = createControllerQueue(context);
  const data = { 'ca.crt': rootCaPem };
  informers.namespaces.subscribe({
    added: ({ metadata }) => queue.add(metadata.name),
    updated: (_, { metadata }) => queue.add(metadata.name),
  });
  informers.configmaps.subscribe({
    updated: (_, { metadata }) => queue.add(metadata.namespace ?? ''),
    deleted: ({ metadata }) => queue.add(metadata.namespace ?? ''),
  });

  async function sync(name: string): Promise<void> {
    const namespace = informers.namespaces.get(name);
    if (namespace === undefined || namespace.status?.phase === 'Terminating') return;
    if (namespace.metadata.deletionTimestamp !== undefined) return;
    const published = informers.configmaps.get(`${name}/${configMapName}`);
    if (published?.data?.['ca.crt'] === rootCaPem && Object.keys(published.data).length === 1) return;
    try {
      if (published !== undefined) {
        const metadata = { ...published.metadata, annotations: { ...published.metadata.annotations, ...annotations } };
        await client.update(configmaps, { ...published, metadata, data });
        return;
      }
      await client.create(configmaps, name, { metadata: { name: configMapName, namespace: name, annotations }, data });
    } catch (error) {
      // Created or deleted by someone else meanwhile: the informer will say so.
      if (!isAlreadyExists(error) && !(published !== undefined && isNotFound(error))) throw error;
    }
  }

  return queueController(context.name, queue, sync, { concurrency: 4 });
}

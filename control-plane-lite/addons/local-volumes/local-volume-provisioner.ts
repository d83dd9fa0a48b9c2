// Gives claims of the local class directories of the node that their pod runs on, and removes them again. A pod on that
// node does the work, so that any node of the cluster can have such volumes.
import type { Node, PersistentVolume, PersistentVolumeClaim, Pod } from '#kube/api/generated/core-v1.ts';
import { persistentvolumeclaims, persistentvolumes, pods as podResource } from '#kube/api/generated/resources.ts';
import {
  betaStorageProvisionerAnnotation,
  provisionedByAnnotation,
  selectedNodeAnnotation,
  storageClassOf,
  storageProvisionerAnnotation,
} from '#kube/api/persistent-volumes.ts';
import { objectKey } from '#kube/api/resource.ts';
import { isAlreadyExists, isNotFound } from '#kube/errors/status-error.ts';
import { referenceTo } from '#kube/events/event-recorder.ts';
import {
  type Controller,
  type ControllerContext,
  createControllerQueue,
  queueController,
} from '../../controllers/controller.ts';
import {
  claimProblem,
  helperNamespace,
  helperPod,
  localVolume,
  purposeAnnotation,
  volumeNameOf,
} from './plan-local-volume.ts';
import { localProvisioner } from './storage-class.ts';

const retryMs = 10_000;

type Requeue = void | { requeueAfterMs: number };

function isOurs({ metadata, status }: PersistentVolumeClaim): boolean {
  const { annotations = {} } = metadata;
  const provisioner = annotations[storageProvisionerAnnotation] ?? annotations[betaStorageProvisionerAnnotation];
  return provisioner === localProvisioner && status?.phase === 'Pending' && metadata.deletionTimestamp === undefined;
}

function isToBeDeleted({ metadata, spec, status }: PersistentVolume): boolean {
  return (
    metadata.annotations?.[provisionedByAnnotation] === localProvisioner &&
    status?.phase === 'Released' &&
    spec.persistentVolumeReclaimPolicy === 'Delete'
  );
}

/** The one node on which the volume is. */
function nodeOf({ spec }: PersistentVolume, nodes: readonly Node[]): Node | undefined {
  const [term] = spec.nodeAffinity?.required?.nodeSelectorTerms ?? [];
  const hostname = term?.matchExpressions?.[0]?.values?.[0];
  return nodes.find(({ metadata }) => (metadata.labels?.['kubernetes.io/hostname'] ?? metadata.name) === hostname);
}

/** Creates the controller; volumes are below `directory` of every node. */
export function createLocalVolumeProvisioner(context: ControllerContext, directory: string): Controller {
  const { informers, client, recorder, logger } = context;
  const queue = createControllerQueue(context);
  const claimChanged = (claim: PersistentVolumeClaim) => {
    if (isOurs(claim)) queue.add(`claim/${objectKey(claim)}`);
  };
  const volumeChanged = (volume: PersistentVolume) => {
    if (isToBeDeleted(volume)) queue.add(`volume/${volume.metadata.name}`);
  };
  const podChanged = ({ metadata }: Pod) => {
    const purpose = metadata.annotations?.[purposeAnnotation];
    if (metadata.namespace === helperNamespace && purpose !== undefined) queue.add(purpose);
  };
  informers.persistentvolumeclaims.subscribe({ added: claimChanged, updated: (_, claim) => claimChanged(claim) });
  informers.persistentvolumes.subscribe({ added: volumeChanged, updated: (_, volume) => volumeChanged(volume) });
  informers.pods.subscribe({ added: podChanged, updated: (_, pod) => podChanged(pod), deleted: podChanged });

  const helperOf = (action: string, volume: string) => informers.pods.get(`${helperNamespace}/${action}-${volume}`);

  async function remove(pod: Pod): Promise<void> {
    if (pod.metadata.deletionTimestamp !== undefined) return;
    const key = { namespace: helperNamespace, name: pod.metadata.name };
    await client.delete(podResource, key).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
  }

  /** True once the directory is made or removed. Throws when that failed. */
  async function work(action: 'create' | 'remove', volume: string, node: string, purpose: string): Promise<boolean> {
    const pod = helperOf(action, volume);
    if (pod === undefined) {
      const draft = helperPod(action, volume, node, directory, purpose);
      await client.create(podResource, helperNamespace, draft).catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
      return false;
    }
    const { phase, message, reason } = pod.status ?? {};
    if (phase === 'Succeeded') return true;
    if (phase !== 'Failed') return false;
    await remove(pod);
    const ended = pod.status?.containerStatuses?.[0]?.state?.terminated;
    const why = message ?? reason ?? `exit code ${ended?.exitCode}`;
    throw new Error(`the directory of the volume could not be ${action}d on node ${node}: ${why}`);
  }

  function tell(claim: PersistentVolumeClaim, type: 'Normal' | 'Warning', reason: string, message: string): void {
    recorder.event(referenceTo(persistentvolumeclaims, claim), type, reason, message);
  }

  async function provision(key: string): Promise<Requeue> {
    const claim = informers.persistentvolumeclaims.get(key);
    if (claim === undefined || !isOurs(claim)) return;
    const storageClass = informers.storageclasses.get(storageClassOf(claim));
    const nodeName = claim.metadata.annotations?.[selectedNodeAnnotation] ?? '';
    if (storageClass === undefined) return;
    const problem = nodeName === '' ? 'local volumes need volumeBindingMode WaitForFirstConsumer' : claimProblem(claim);
    const fail = (why: string): Requeue => {
      const message = `failed to provision volume with StorageClass "${storageClass.metadata.name}": ${why}`;
      tell(claim, 'Warning', 'ProvisioningFailed', message);
      return { requeueAfterMs: retryMs };
    };
    if (problem !== undefined) return fail(problem);
    const node = informers.nodes.get(nodeName);
    if (node === undefined) {
      const { namespace, name, resourceVersion } = claim.metadata;
      const patch = { metadata: { resourceVersion, annotations: { [selectedNodeAnnotation]: null } } };
      await client.patch(persistentvolumeclaims, { namespace, name }, 'merge', patch);
      return;
    }
    const volumeName = volumeNameOf(claim);
    if (informers.persistentvolumes.get(volumeName) === undefined) {
      try {
        if (!(await work('create', volumeName, nodeName, `claim/${key}`))) return;
      } catch (error) {
        return fail((error as Error).message);
      }
      const draft = localVolume(claim, node, storageClass, directory);
      await client.create(persistentvolumes, undefined, draft).catch((error: unknown) => {
        if (!isAlreadyExists(error)) throw error;
      });
      tell(claim, 'Normal', 'ProvisioningSucceeded', `Successfully provisioned volume ${volumeName}`);
    }
    const helper = helperOf('create', volumeName);
    if (helper !== undefined) await remove(helper);
  }

  async function reclaim(name: string): Promise<Requeue> {
    const helper = helperOf('remove', name);
    const volume = informers.persistentvolumes.get(name);
    if (volume === undefined || !isToBeDeleted(volume)) {
      if (helper !== undefined) await remove(helper);
      return;
    }
    const node = nodeOf(volume, informers.nodes.list());
    if (node !== undefined) {
      try {
        if (!(await work('remove', name, node.metadata.name, `volume/${name}`))) return;
      } catch (error) {
        recorder.event(
          referenceTo(persistentvolumes, volume),
          'Warning',
          'VolumeFailedDelete',
          (error as Error).message,
        );
        return { requeueAfterMs: retryMs };
      }
    }
    logger.info({ volume: name }, 'removed a local volume');
    await client.delete(persistentvolumes, { name }).catch((error: unknown) => {
      if (!isNotFound(error)) throw error;
    });
    if (helper !== undefined) await remove(helper);
  }

  async function sync(key: string): Promise<Requeue> {
    const at = key.indexOf('/');
    const [kind, rest] = [key.slice(0, at), key.slice(at + 1)];
    return kind === 'claim' ? provision(rest) : reclaim(rest);
  }

  return queueController('local-volume-provisioner', queue, sync, { concurrency: 4 });
}

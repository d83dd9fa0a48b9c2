// Volumes, the drivers of volumes that run beside the agent, and the directory in which these register.
import { join } from 'node:path';
import { csidrivers } from '#kube/api/generated/resources.ts';
import { createInformer } from '#kube/informer/create-informer.ts';
import { runGroup } from '#kube/process/component.ts';
import type { PluginHandler } from '../plugin-registration/plugin-handler.ts';
import { createPluginRegistry } from '../plugin-registration/plugin-registry.ts';
import type { RecordPodEvent } from '../sync/pod-events.ts';
import { createClaimReader } from '../volume/claim-reader.ts';
import { createAttachments } from '../volume/csi/attachments.ts';
import { createCsiDrivers } from '../volume/csi/csi-drivers.ts';
import { createCsiNodeObject } from '../volume/csi/csi-node-object.ts';
import { createCsiVolumes } from '../volume/csi/csi-volumes.ts';
import { createStagedVolumes } from '../volume/csi/staged-volumes.ts';
import { createImageVolumes } from '../volume/image-volume.ts';
import { createMounter } from '../volume/mounter.ts';
import { observeVolumes, type VolumeOperation } from '../volume/observe-volumes.ts';
import type { PayloadSources } from '../volume/resolve-payload.ts';
import { createVolumeKinds } from '../volume/volume-kinds.ts';
import { createVolumeManager } from '../volume/volume-manager.ts';
import { createVolumeStats } from '../volume/volume-stats.ts';
import type { AgentParts } from './agent-parts.ts';
import type { NodeParts } from './wire-node.ts';

const retryMs = 2000;

/** What volumes are connected to. */
export interface StorageConnections {
  nodeParts: NodeParts;
  sources: PayloadSources;
  record: RecordPodEvent;
  observe: (operation: VolumeOperation) => void;
  /** Something the pod waits for has changed. */
  wake: (podUid: string) => void;
  /** Takes plugins of other kinds. */
  handlers: readonly PluginHandler[];
}

/** Connects them. */
export function wireStorage(
  parts: AgentParts,
  { nodeParts, sources, record, observe, wake, handlers }: StorageConnections,
) {
  const { settings, nodeName, client, clock, exec, logger } = parts;
  const { rootDir } = settings;
  const { reporter } = nodeParts;
  const mounter = createMounter(exec);
  const described = createInformer({ client, resource: csidrivers, clock, logger });
  const nodeObject = createCsiNodeObject(client, nodeName, clock);
  const drivers = createCsiDrivers({
    nodeObject,
    logger,
    registered(driver) {
      // Pods may wait for it to start, or to end.
      const told = volumes.listPods().then((uids) => uids.forEach(wake));
      Promise.all([told, csi.sweep(driver)]).catch((error: unknown) =>
        logger.warn({ err: error, driver }, 'cannot tell pods of a driver, or unstage what none uses'),
      );
    },
  });
  const staged = createStagedVolumes(rootDir, mounter);
  const isAttached = (driver: string) => described.get(driver)?.spec.attachRequired !== false;
  const attachments = createAttachments(client, nodeName, clock, async () =>
    (await staged.list()).filter(({ driver }) => isAttached(driver)),
  );
  const csi = createCsiVolumes({
    rootDir,
    nodeName,
    mounter,
    client,
    drivers,
    staged,
    attachments,
    tokens: sources.tokens,
    described,
    record,
    logger,
  });
  const { runtimeName, runtimeVersion } = parts;
  const runtimeEndpoint = settings.runtimeEndpoint;
  const images = createImageVolumes({ rootDir, mounter, exec, runtimeName, runtimeVersion, runtimeEndpoint });
  const kinds = observeVolumes(
    createVolumeKinds({ rootDir, mounter, sources, clock, exec, csi, images, record, node: reporter.node }),
    clock,
    observe,
  );
  const claims = createClaimReader(client);
  const volumes = createVolumeManager({ rootDir, mounter, kinds, claims, clock, logger, record });
  const registry = createPluginRegistry({
    directory: join(rootDir, 'plugins_registry'),
    handlers: [drivers, ...handlers],
    clock,
    logger,
  });

  /** Drivers are told to the API as parts of a node that is there. */
  async function runDrivers(signal: AbortSignal): Promise<void> {
    const aborted = new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    await Promise.race([reporter.ready, aborted]);
    while (!signal.aborted) {
      try {
        await nodeObject.ensure(signal);
        break;
      } catch (error) {
        if (!signal.aborted) logger.warn({ err: error }, 'cannot write the CSINode object, will try again');
        await clock.sleep(retryMs, signal).catch(() => undefined);
      }
    }
    if (!signal.aborted) await registry.run(signal);
  }

  return {
    mounter,
    volumes,
    images,
    stats: createVolumeStats(volumes, clock, logger, settings.volumeStatsMs),
    async run(signal: AbortSignal) {
      try {
        await runGroup([{ run: described.run }, { run: runDrivers }], signal);
      } finally {
        drivers.close();
      }
    },
  };
}

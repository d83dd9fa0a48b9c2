// Devices of resource claims: has drivers prepare them before a pod's containers start, tells containers their names,
// and has them taken back when no pod uses them (pkg/kubelet/cm/dra).
import type { Logger } from 'pino';
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim } from '#kube/api/generated/resource-v1.ts';
import { resourceclaims } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { PluginHandler } from '../plugin-registration/plugin-handler.ts';
import type { ClaimInfo, ClaimStore } from './claim-store.ts';
import { type DraClient, openDraClient } from './dra-client.ts';

const version = 'v1.DRAPlugin';

export interface ClaimManagerOptions {
  client: ApiClient;
  store: ClaimStore;
  logger: Logger;
  /** Told when there is another driver: pods may wait for it. */
  registered(driver: string): void;
  open?(socketPath: string): DraClient;
}

export interface ClaimManager {
  /** Makes the pod's claims ready. Throws what keeps one from being ready; may be repeated. */
  prepare(pod: Pod, signal: AbortSignal): Promise<void>;
  /** The pod has ended. */
  unprepare(podUid: string, signal: AbortSignal): Promise<void>;
  /** Names of devices for the runtime. */
  devicesOf(pod: Pod, container: Container): string[];
  /** The claims that a container uses. */
  claimsOf(pod: Pod, container: Container): ClaimInfo[];
  readonly handler: PluginHandler;
  close(): void;
}

/** The name of the object behind a pod's claim; undefined where it needs none. Throws while there is none yet. */
export function claimNameOf(pod: Pod, name: string): string | undefined {
  const entry = pod.spec.resourceClaims?.find((claim) => claim.name === name);
  if (entry?.resourceClaimName !== undefined) return entry.resourceClaimName;
  const status = pod.status?.resourceClaimStatuses?.find((claim) => claim.name === name);
  if (status === undefined) throw new Error(`pod claim ${name}: ResourceClaim not created yet`);
  return status.resourceClaimName;
}

function isFor(requests: readonly string[], wanted: string | undefined): boolean {
  if (wanted === undefined || wanted === '' || requests.length === 0) return true;
  // A request with alternatives is told with the one that was chosen: request/alternative.
  return requests.some((request) => request === wanted || request.split('/')[0] === wanted);
}

/** Creates the manager. */
export function createClaimManager(options: ClaimManagerOptions): ClaimManager {
  const { client, store, logger, open = openDraClient } = options;
  const drivers = new Map<string, { endpoint: string; client: DraClient }>();
  /** Claim and driver, where the driver has answered. One may have no devices to tell of. */
  const answered = new Set<string>();
  const isReady = ({ ClaimUID, DriverState }: ClaimInfo) =>
    Object.entries(DriverState).every(
      ([driver, { Devices }]) => Devices.length > 0 || answered.has(`${ClaimUID}/${driver}`),
    );

  function driverOf(name: string): DraClient {
    const driver = drivers.get(name);
    if (driver === undefined) throw new Error(`DRA driver ${name} is not registered`);
    return driver.client;
  }

  function check(claim: ResourceClaim, pod: Pod): void {
    const { name, uid } = pod.metadata;
    if (claim.status?.allocation === undefined) throw new Error(`claim ${claim.metadata.name} is not allocated`);
    if (claim.status.reservedFor?.some((consumer) => consumer.uid === uid) === true) return;
    throw new Error(
      `pod ${name} (${uid}) is not allowed to use resource claim ${claim.metadata.name} (${claim.metadata.uid})`,
    );
  }

  async function prepareClaim(pod: Pod, name: string, signal: AbortSignal): Promise<void> {
    const podUid = pod.metadata.uid ?? '';
    const namespace = pod.metadata.namespace ?? '';
    const ready = store.ofPod(podUid).find(({ ClaimName }) => ClaimName === name);
    if (ready !== undefined && isReady(ready)) return;
    const claim = await client.get(resourceclaims, { namespace, name }, { signal });
    check(claim, pod);
    const uid = claim.metadata.uid ?? '';
    const results = claim.status?.allocation?.devices?.results ?? [];
    const names = [...new Set(results.map(({ driver }) => driver))];
    const clients = names.map((driver) => ({ driver, own: driverOf(driver) }));
    const info: ClaimInfo = store.get(uid) ?? {
      ClaimUID: uid,
      ClaimName: name,
      Namespace: namespace,
      PodUIDs: {},
      DriverState: {},
    };
    // Known before drivers are asked: what they did is taken back also when the agent ends in between.
    info.PodUIDs[podUid] = {};
    for (const driver of names) info.DriverState[driver] ??= { Devices: [] };
    await store.set(info);
    for (const { driver, own } of clients) {
      if ((info.DriverState[driver]?.Devices ?? []).length > 0 || answered.has(`${uid}/${driver}`)) continue;
      const devices = await own.prepare({ namespace, name, uid }, signal).catch((error: unknown) => {
        throw new Error(`NodePrepareResources failed for claim ${namespace}/${name}: ${(error as Error).message}`, {
          cause: error,
        });
      });
      info.DriverState[driver] = {
        Devices: devices.map(({ poolName, deviceName, requestNames, cdiDeviceIds, shareId }) => ({
          PoolName: poolName,
          DeviceName: deviceName,
          ...(shareId === undefined || shareId === '' ? {} : { ShareID: shareId }),
          RequestNames: requestNames,
          CDIDeviceIDs: cdiDeviceIds,
        })),
      };
      answered.add(`${uid}/${driver}`);
      await store.set(info);
    }
  }

  async function unprepareClaim(info: ClaimInfo, podUid: string, signal: AbortSignal): Promise<void> {
    const others = Object.keys(info.PodUIDs).filter((uid) => uid !== podUid);
    if (others.length > 0) {
      delete info.PodUIDs[podUid];
      await store.set(info);
      return;
    }
    const { Namespace: namespace, ClaimName: name, ClaimUID: uid } = info;
    for (const driver of Object.keys(info.DriverState))
      await driverOf(driver).unprepare({ namespace, name, uid }, signal);
    for (const driver of Object.keys(info.DriverState)) answered.delete(`${uid}/${driver}`);
    await store.remove(uid);
  }

  function claimsOf(pod: Pod, { resources }: Container): { info: ClaimInfo; request: string | undefined }[] {
    const own = store.ofPod(pod.metadata.uid ?? '');
    return (resources?.claims ?? []).flatMap(({ name, request }) => {
      const claimName = claimNameOf(pod, name);
      const info = own.find(({ ClaimName }) => ClaimName === claimName);
      return info === undefined ? [] : [{ info, request }];
    });
  }

  return {
    async prepare(pod, signal) {
      for (const { name } of pod.spec.resourceClaims ?? []) {
        const claimName = claimNameOf(pod, name);
        if (claimName !== undefined) await prepareClaim(pod, claimName, signal);
      }
    },
    async unprepare(podUid, signal) {
      for (const info of store.ofPod(podUid)) await unprepareClaim(info, podUid, signal);
    },
    devicesOf(pod, container) {
      const ids = claimsOf(pod, container).flatMap(({ info, request }) =>
        Object.values(info.DriverState)
          .flatMap(({ Devices }) => Devices)
          .filter(({ RequestNames }) => isFor(RequestNames, request))
          .flatMap(({ CDIDeviceIDs }) => CDIDeviceIDs),
      );
      return [...new Set(ids)];
    },
    claimsOf: (pod, container) => claimsOf(pod, container).map(({ info }) => info),
    handler: {
      type: 'DRAPlugin',
      async register({ name, endpoint, versions }) {
        if (!versions.includes(version)) {
          throw new Error(
            `none of the versions of DRA driver ${name} is supported: ${versions.join(', ')}; this is ${version}`,
          );
        }
        drivers.get(name)?.client.close();
        drivers.set(name, { endpoint, client: open(endpoint) });
        logger.info({ driver: name }, 'registered a driver of dynamic resources');
        options.registered(name);
      },
      async deregister({ name, endpoint }) {
        const driver = drivers.get(name);
        if (driver === undefined || driver.endpoint !== endpoint) return;
        driver.client.close();
        drivers.delete(name);
      },
    },
    close() {
      for (const { client: own } of drivers.values()) own.close();
    },
  };
}

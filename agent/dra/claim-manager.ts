// Devices of resource claims: has drivers prepare them before a pod's containers start, tells containers their names,
// and has them taken back when no pod uses them (pkg/kubelet/cm/dra).
import type { Container, Pod, ResourceHealth, ResourceStatus } from '#kube/api/generated/core-v1.ts';
import type { ResourceClaim } from '#kube/api/generated/resource-v1.ts';
import { resourceclaims } from '#kube/api/generated/resources.ts';
import { quantityValue } from '#kube/api/quantity.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { CriError } from '../cri/cri-error.ts';
import type { ClaimDevice, ClaimInfo, ClaimStore } from './claim-store.ts';
import type { DraClient } from './dra-client.ts';

export interface ClaimManagerOptions {
  client: ApiClient;
  store: ClaimStore;
  /** Throws where no driver of that name is registered. */
  clientOf(driver: string): DraClient;
  clock: Clock;
  /** Told how long what was done for a pod's claims took. */
  observe?(operation: 'PrepareResources' | 'UnprepareResources', failed: boolean, seconds: number): void;
  /** Told how long a call to a driver took. */
  observeCall?(
    driver: string,
    method: 'NodePrepareResources' | 'NodeUnprepareResources',
    code: string,
    seconds: number,
  ): void;
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
  /** The container's claims with the health of their devices, as its status shows them. */
  healthOf(
    pod: Pod,
    container: Container,
    of: (driver: string, device: ClaimDevice) => ResourceHealth,
  ): ResourceStatus[];
  /** Uids of the pods that use a device; without one: any of the driver's. */
  usersOf(driver: string, device?: { pool: string; device: string }): string[];
  /** Claims in use, by driver; `<any>` counts each once. */
  inUse(): Map<string, number>;
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
  const { client, store, clock, clientOf } = options;
  /** Claim and driver, where the driver has answered. One may have no devices to tell of. */
  const answered = new Set<string>();
  const isReady = ({ ClaimUID, DriverState }: ClaimInfo) =>
    Object.entries(DriverState).every(
      ([driver, { Devices }]) => Devices.length > 0 || answered.has(`${ClaimUID}/${driver}`),
    );

  async function timed<T>(
    driver: string,
    method: 'NodePrepareResources' | 'NodeUnprepareResources',
    call: () => Promise<T>,
  ): Promise<T> {
    const startedMs = clock.monotonicMs();
    let code = 'OK';
    try {
      return await call();
    } catch (error) {
      // A driver's own words about one claim come with a call that went well.
      if (error instanceof CriError) code = error.code;
      throw error;
    } finally {
      options.observeCall?.(driver, method, code, (clock.monotonicMs() - startedMs) / 1000);
    }
  }

  async function operation(name: 'PrepareResources' | 'UnprepareResources', run: () => Promise<void>): Promise<void> {
    const startedMs = clock.monotonicMs();
    let failed = true;
    try {
      await run();
      failed = false;
    } finally {
      options.observe?.(name, failed, (clock.monotonicMs() - startedMs) / 1000);
    }
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
    const clients = names.map((driver) => ({ driver, own: clientOf(driver) }));
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
      const devices = await timed(driver, 'NodePrepareResources', () =>
        own.prepare({ namespace, name, uid }, signal),
      ).catch((error: unknown) => {
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
    for (const driver of Object.keys(info.DriverState)) {
      const own = clientOf(driver);
      await timed(driver, 'NodeUnprepareResources', () => own.unprepare({ namespace, name, uid }, signal));
    }
    for (const driver of Object.keys(info.DriverState)) answered.delete(`${uid}/${driver}`);
    await store.remove(uid);
  }

  function claimsIn(pod: Pod, { resources }: Container) {
    const own = store.ofPod(pod.metadata.uid ?? '');
    return (resources?.claims ?? []).flatMap(({ name, request }) => {
      const claimName = claimNameOf(pod, name);
      const info = own.find(({ ClaimName }) => ClaimName === claimName);
      return info === undefined ? [] : [{ name, info, request: request === '' ? undefined : request }];
    });
  }

  /** Claims of a container: those it names, and its part of the one that the scheduler made for extended resources. */
  function allClaimsOf(pod: Pod, container: Container): { info: ClaimInfo; request: string | undefined }[] {
    const extended = pod.status?.extendedResourceClaimStatus;
    const info = store.ofPod(pod.metadata.uid ?? '').find(({ ClaimName }) => ClaimName === extended?.resourceClaimName);
    if (extended === undefined || info === undefined) return claimsIn(pod, container);
    const requests = extended.requestMappings.filter(
      ({ containerName, resourceName }) =>
        containerName === container.name && quantityValue(container.resources?.requests?.[resourceName]) > 0,
    );
    return [...claimsIn(pod, container), ...requests.map(({ requestName }) => ({ info, request: requestName }))];
  }

  return {
    prepare: (pod, signal) =>
      operation('PrepareResources', async () => {
        for (const { name } of pod.spec.resourceClaims ?? []) {
          const claimName = claimNameOf(pod, name);
          if (claimName !== undefined) await prepareClaim(pod, claimName, signal);
        }
        const extended = pod.status?.extendedResourceClaimStatus;
        if (extended !== undefined) await prepareClaim(pod, extended.resourceClaimName, signal);
      }),
    async unprepare(podUid, signal) {
      const own = store.ofPod(podUid);
      if (own.length === 0) return;
      await operation('UnprepareResources', async () => {
        for (const info of own) await unprepareClaim(info, podUid, signal);
      });
    },
    devicesOf(pod, container) {
      const ids = allClaimsOf(pod, container).flatMap(({ info, request }) =>
        Object.values(info.DriverState)
          .flatMap(({ Devices }) => Devices)
          .filter(({ RequestNames }) => isFor(RequestNames, request))
          .flatMap(({ CDIDeviceIDs }) => CDIDeviceIDs),
      );
      return [...new Set(ids)];
    },
    claimsOf: (pod, container) => [...new Set(allClaimsOf(pod, container).map(({ info }) => info))],
    healthOf(pod, container, of) {
      return claimsIn(pod, container).map(({ name, info, request }) => {
        const resources = new Map<string, ResourceHealth>();
        for (const [driver, { Devices }] of Object.entries(info.DriverState)) {
          for (const device of Devices.filter(({ RequestNames }) => isFor(RequestNames, request?.split('/')[0]))) {
            const health = of(driver, device);
            if (!resources.has(health.resourceID)) resources.set(health.resourceID, health);
          }
        }
        return {
          name: `claim:${name}${request === undefined ? '' : `/${request}`}`,
          resources: [...resources.values()],
        };
      });
    },
    usersOf(driver, device) {
      const uses = ({ DriverState }: ClaimInfo) =>
        (DriverState[driver]?.Devices ?? []).some(
          ({ PoolName, DeviceName }) =>
            device === undefined || (PoolName === device.pool && DeviceName === device.device),
        );
      return [
        ...new Set(
          store
            .all()
            .filter(uses)
            .flatMap(({ PodUIDs }) => Object.keys(PodUIDs)),
        ),
      ];
    },
    inUse() {
      const counts = new Map([['<any>', store.all().length]]);
      for (const { DriverState } of store.all()) {
        for (const driver of Object.keys(DriverState)) counts.set(driver, (counts.get(driver) ?? 0) + 1);
      }
      return counts;
    },
  };
}

// Where a pod may go as far as its resource claims are concerned, and what they are given there.
// Behaviour: upstream's dynamicresources plugin, without counters that devices share. Pure.
import type { NodeSelector, Pod } from '#kube/api/generated/core-v1.ts';
import type {
  AllocationResult,
  DeviceAllocationConfiguration,
  DeviceClass,
  ResourceClaim,
  ResourceSlice,
} from '#kube/api/generated/resource-v1.ts';
import { nodeSelectorMatches } from '#kube/api/node-affinity.ts';
import { controllerOf } from '#kube/api/owner-references.ts';
import { objectKey } from '#kube/api/resource.ts';
import type { Lister } from '#kube/informer/types.ts';
import type { NodeInfo } from '../cache/node-info.ts';
import type { Refusal } from '../framework/plugin.ts';
import { allocateDevices, deviceId } from './allocate-devices.ts';
import type { OfferedDevice } from './device-selectors.ts';

const plugin = 'DynamicResources';
const elsewhere: Refusal = { plugin, reasons: ['resourceclaim not available on the node'], resolvable: false };
const cannot: Refusal = { plugin, reasons: ['cannot allocate all claims'], resolvable: false };
const maxUsers = 256;

export interface DeviceView {
  claims: Pick<Lister<ResourceClaim>, 'get' | 'list'>;
  classes: Pick<Lister<DeviceClass>, 'get'>;
  slices: Pick<Lister<ResourceSlice>, 'list'>;
  /** What was given to a claim, though it does not say so yet. */
  given: ReadonlyMap<string, AllocationResult>;
}

/** What is written before the pod is bound. */
export interface DeviceWork {
  /** Undefined where the claim is allocated already. */
  allocation: AllocationResult | undefined;
  claim: ResourceClaim;
}

export interface DevicePlan {
  problem: string | undefined;
  refuse(node: NodeInfo): Refusal | undefined;
  workFor(node: NodeInfo): DeviceWork[];
}

interface ReadClaims {
  problem?: string;
  claims: ResourceClaim[];
}

function readClaims({ metadata, spec, status }: Pod, view: DeviceView): ReadClaims {
  const claims: ResourceClaim[] = [];
  for (const { name, resourceClaimName, resourceClaimTemplateName } of spec?.resourceClaims ?? []) {
    const made = status?.resourceClaimStatuses?.find((entry) => entry.name === name);
    const claimName = resourceClaimName ?? made?.resourceClaimName;
    if (claimName === undefined) {
      if (made !== undefined) continue;
      const key = `${metadata.namespace}/${metadata.name}`;
      return {
        claims,
        problem: `waiting for dynamic resource controller to create the resourceclaim for pod "${key}"`,
      };
    }
    const claim = view.claims.get(`${metadata.namespace}/${claimName}`);
    if (claim === undefined) return { claims, problem: `resourceclaim "${claimName}" not found` };
    if (claim.metadata.deletionTimestamp !== undefined) {
      return { claims, problem: `resourceclaim "${claimName}" is being deleted` };
    }
    if (resourceClaimTemplateName !== undefined && controllerOf(claim)?.uid !== metadata.uid) {
      return { claims, problem: `resourceclaim "${claimName}" was not created for pod ${metadata.name}` };
    }
    const users = claim.status?.reservedFor ?? [];
    if (users.length >= maxUsers && !users.some(({ uid }) => uid === metadata.uid)) {
      return { claims, problem: `resourceclaim "${claimName}" is in use by too many pods` };
    }
    claims.push(claim);
  }
  return { claims };
}

function isOn(
  node: NodeInfo,
  place: { nodeName?: string | undefined; nodeSelector?: NodeSelector | undefined; allNodes?: boolean | undefined },
): boolean {
  if (place.allNodes === true) return true;
  if (place.nodeName !== undefined && place.nodeName !== '') return place.nodeName === node.name;
  return place.nodeSelector !== undefined && nodeSelectorMatches(place.nodeSelector, node.node);
}

/** The devices that a node reaches, of pools whose newest state is complete. */
function devicesOf(node: NodeInfo, slices: readonly ResourceSlice[]): OfferedDevice[] {
  const pools = new Map<string, ResourceSlice[]>();
  for (const slice of slices) {
    const key = `${slice.spec.driver}/${slice.spec.pool.name}`;
    const known = pools.get(key) ?? [];
    const newest = known[0]?.spec.pool.generation ?? -1;
    if (slice.spec.pool.generation > newest) pools.set(key, [slice]);
    else if (slice.spec.pool.generation === newest) known.push(slice);
  }
  const devices: OfferedDevice[] = [];
  for (const pool of pools.values()) {
    if (pool.length < (pool[0]?.spec.pool.resourceSliceCount ?? 1)) continue;
    for (const { spec } of pool) {
      for (const device of spec.devices ?? []) {
        const place = spec.perDeviceNodeSelection === true ? device : spec;
        if (isOn(node, place)) devices.push({ driver: spec.driver, pool: spec.pool.name, device });
      }
    }
  }
  return devices;
}

/** Configurations of classes and of the claim, in the order in which drivers apply them. */
function configOf(claim: ResourceClaim, view: DeviceView): DeviceAllocationConfiguration[] {
  const fromClasses = (claim.spec.devices?.requests ?? []).flatMap((request) => {
    const { name, exactly } = request;
    const config = exactly === undefined ? [] : (view.classes.get(exactly.deviceClassName)?.spec.config ?? []);
    return config.map((entry) => ({ ...entry, requests: [name], source: 'FromClass' }));
  });
  const own = (claim.spec.devices?.config ?? []).map((entry) => ({ ...entry, source: 'FromClaim' }));
  return [...fromClasses, ...own];
}

/** Looks at the pod's claims; undefined for a pod without any. */
export function planDevices(pod: Pod, view: DeviceView): DevicePlan | undefined {
  if ((pod.spec?.resourceClaims ?? []).length === 0) return undefined;
  const { problem, claims } = readClaims(pod, view);
  const allocationOf = (claim: ResourceClaim) => claim.status?.allocation ?? view.given.get(objectKey(claim));
  const taken = new Set<string>();
  const take = (allocation: AllocationResult | undefined) => {
    for (const { driver, pool, device, adminAccess } of allocation?.devices?.results ?? []) {
      if (adminAccess !== true) taken.add(deviceId(driver, pool, device));
    }
  };
  for (const claim of view.claims.list()) take(allocationOf(claim));
  const slices = view.slices.list();

  function workFor(node: NodeInfo): DeviceWork[] | undefined {
    const devices = devicesOf(node, slices);
    const here = new Set(taken);
    const work: DeviceWork[] = [];
    for (const claim of claims) {
      if (allocationOf(claim) !== undefined) {
        work.push({ claim, allocation: undefined });
        continue;
      }
      const results = allocateDevices(claim, { devices, taken: here, deviceClass: view.classes.get });
      if (results === undefined) return undefined;
      for (const { driver, pool, device } of results) here.add(deviceId(driver, pool, device));
      const onNode = [{ matchFields: [{ key: 'metadata.name', operator: 'In', values: [node.name] }] }];
      const allocation = {
        devices: { results, config: configOf(claim, view) },
        nodeSelector: { nodeSelectorTerms: onNode },
      };
      work.push({ claim, allocation });
    }
    return work;
  }

  return {
    problem,
    refuse(node) {
      const isAway = claims.some((claim) => {
        const selector = allocationOf(claim)?.nodeSelector;
        return selector !== undefined && !nodeSelectorMatches(selector, node.node);
      });
      if (isAway) return elsewhere;
      try {
        return workFor(node) === undefined ? cannot : undefined;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        return { plugin, reasons: [reason], resolvable: false };
      }
    },
    workFor: (node) => workFor(node) ?? [],
  };
}

// Which devices of a node a claim gets: depth first over its requests, so that constraints over several of them hold.
import type {
  DeviceClass,
  DeviceConstraint,
  DeviceRequest,
  DeviceRequestAllocationResult,
  DeviceSelector,
  DeviceToleration,
  ResourceClaim,
} from '#kube/api/generated/resource-v1.ts';
import { isTolerated } from '#kube/api/taints.ts';
import { attributeValue, type OfferedDevice, qualified, selects } from './device-selectors.ts';

/** What one request, or one alternative of it, wants. */
interface Want {
  /** As results name it: `request`, or `request/alternative`. */
  name: string;
  request: string;
  deviceClassName: string;
  selectors: DeviceSelector[];
  tolerations: DeviceToleration[];
  count: number | 'all';
  isAdmin: boolean;
}

export interface Offer {
  devices: readonly OfferedDevice[];
  /** `driver/pool/device` of what is given away. */
  taken: ReadonlySet<string>;
  deviceClass(name: string): DeviceClass | undefined;
}

/** Allocating tries so many combinations at most. */
const maxSteps = 20_000;

export const deviceId = (driver: string, pool: string, device: string) => `${driver}/${pool}/${device}`;

function wantsOf({ name, exactly, firstAvailable }: DeviceRequest): Want[] {
  const want = (part: NonNullable<typeof exactly>, own: string): Want => ({
    name: own,
    request: name,
    deviceClassName: part.deviceClassName,
    selectors: part.selectors ?? [],
    tolerations: part.tolerations ?? [],
    count: part.allocationMode === 'All' ? 'all' : (part.count ?? 1),
    isAdmin: part.adminAccess === true,
  });
  if (exactly !== undefined) return [want(exactly, name)];
  return (firstAvailable ?? []).map((part) => want(part, `${name}/${part.name}`));
}

interface Chosen {
  want: Want;
  offered: OfferedDevice;
}

function attributeIn({ driver, device }: OfferedDevice, name: string): string | number | boolean | undefined {
  const [domain, id] = qualified(driver, name);
  for (const [key, attribute] of Object.entries(device.attributes ?? {})) {
    const [itsDomain, itsId] = qualified(driver, key);
    if (itsDomain === domain && itsId === id) return attributeValue(attribute);
  }
  return undefined;
}

function holds(
  { requests = [], matchAttribute, distinctAttribute }: DeviceConstraint,
  chosen: readonly Chosen[],
): boolean {
  const attribute = matchAttribute ?? distinctAttribute;
  if (attribute === undefined) return true;
  const concerned = chosen.filter(
    ({ want }) => requests.length === 0 || requests.includes(want.request) || requests.includes(want.name),
  );
  const values = concerned.map(({ offered }) => attributeIn(offered, attribute));
  if (values.includes(undefined)) return false;
  const different = new Set(values).size;
  return matchAttribute === undefined ? different === values.length : different <= 1;
}

/** Undefined when the devices do not suffice. Throws for a selector that cannot be evaluated. */
export function allocateDevices({ spec }: ResourceClaim, offer: Offer): DeviceRequestAllocationResult[] | undefined {
  const requests = (spec.devices?.requests ?? []).map(wantsOf);
  const constraints = spec.devices?.constraints ?? [];
  const used = new Set<string>();
  const chosen: Chosen[] = [];
  let steps = 0;

  const idOf = ({ driver, pool, device }: OfferedDevice) => deviceId(driver, pool, device.name);

  function suits(want: Want, offered: OfferedDevice): boolean {
    const deviceClass = offer.deviceClass(want.deviceClassName);
    if (deviceClass === undefined) return false;
    // Devices that share counters with others are not given out: what is left of them is not counted here.
    if ((offered.device.consumesCounters ?? []).length > 0) return false;
    const taints = (offered.device.taints ?? []).filter(
      ({ effect }) => effect === 'NoSchedule' || effect === 'NoExecute',
    );
    if (taints.some((taint) => !isTolerated(taint, want.tolerations))) return false;
    return selects(deviceClass.spec.selectors, offered) && selects(want.selectors, offered);
  }

  function take(want: Want, left: readonly OfferedDevice[], missing: number, next: () => boolean): boolean {
    if (missing === 0) return next();
    for (const [index, offered] of left.entries()) {
      steps += 1;
      if (steps > maxSteps) return false;
      const id = idOf(offered);
      if (!want.isAdmin && (offer.taken.has(id) || used.has(id))) continue;
      chosen.push({ want, offered });
      if (!want.isAdmin) used.add(id);
      const ok = constraints.every((constraint) => holds(constraint, chosen));
      if (ok && take(want, left.slice(index + 1), missing - 1, next)) return true;
      chosen.pop();
      if (!want.isAdmin) used.delete(id);
    }
    return false;
  }

  function serve(index: number): boolean {
    const alternatives = requests[index];
    if (alternatives === undefined) return true;
    return alternatives.some((want) => {
      const suitable = offer.devices.filter((offered) => suits(want, offered));
      const count = want.count === 'all' ? suitable.length : want.count;
      return count > 0 && take(want, suitable, count, () => serve(index + 1));
    });
  }

  if (!serve(0)) return undefined;
  return chosen.map(({ want, offered }) => ({
    request: want.name,
    driver: offered.driver,
    pool: offered.pool,
    device: offered.device.name,
    ...(want.isAdmin ? { adminAccess: true } : {}),
    ...(want.tolerations.length === 0 ? {} : { tolerations: want.tolerations }),
  }));
}

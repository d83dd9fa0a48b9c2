// What drivers of dynamic resources tell of their devices: kept as long as they say it is true, unknown after that
// (pkg/kubelet/cm/dra/healthinfo.go). In memory; a driver that comes back tells everything again.
import type { ResourceHealth } from '#kube/api/generated/core-v1.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { ClaimDevice } from './claim-store.ts';

const defaultLifetimeMs = 30_000;
const longestMessage = 1024;

export type HealthWord = 'Healthy' | 'Unhealthy' | 'Unknown';

/** One device as its driver tells it. */
export interface HealthReport {
  pool: string;
  device: string;
  health: HealthWord;
  /** 0: as long as is usual. */
  lifetimeMs: number;
  message: string;
}

export interface DeviceHealthCache {
  /** Takes a report of the driver; the devices whose health is another one than before. */
  update(driver: string, reports: readonly HealthReport[]): HealthReport[];
  /** Nothing of the driver is known any more; whether something was. */
  clear(driver: string): boolean;
  /** As the status of a container shows the device. */
  of(driver: string, device: ClaimDevice): ResourceHealth;
  /** Drivers of which something ran out since the last call. */
  expired(): string[];
}

function shorten(message: string): string {
  return message.length <= longestMessage ? message : `${message.slice(0, longestMessage - 3)}...`;
}

/** Creates an empty cache. */
export function createDeviceHealth(clock: Clock): DeviceHealthCache {
  const known = new Map<string, Map<string, HealthReport & { untilMs: number; told: boolean }>>();
  const keyOf = (pool: string, device: string) => `${pool}/${device}`;

  return {
    update(driver, reports) {
      const own = known.get(driver) ?? new Map();
      known.set(driver, own);
      const now = clock.monotonicMs();
      return reports.filter((report) => {
        const key = keyOf(report.pool, report.device);
        const before = own.get(key);
        const message = shorten(report.message);
        const lifetimeMs = report.lifetimeMs > 0 ? report.lifetimeMs : defaultLifetimeMs;
        own.set(key, { ...report, message, lifetimeMs, untilMs: now + lifetimeMs, told: false });
        const isLive = before !== undefined && before.untilMs > now;
        return !isLive || before.health !== report.health || before.message !== message;
      });
    },
    clear: (driver) => known.delete(driver),
    of(driver, { PoolName, DeviceName, CDIDeviceIDs }) {
      const found = known.get(driver)?.get(keyOf(PoolName, DeviceName));
      const isLive = found !== undefined && found.untilMs > clock.monotonicMs();
      const [resourceID = `${driver}/${PoolName}/${DeviceName}`] = CDIDeviceIDs;
      return {
        resourceID,
        health: isLive ? found.health : 'Unknown',
        ...(isLive && found.message !== '' ? { message: found.message } : {}),
      };
    },
    expired() {
      const drivers = new Set<string>();
      for (const [driver, own] of known) {
        for (const report of own.values()) {
          if (report.told || report.untilMs > clock.monotonicMs()) continue;
          report.told = true;
          drivers.add(driver);
        }
      }
      return [...drivers];
    },
  };
}

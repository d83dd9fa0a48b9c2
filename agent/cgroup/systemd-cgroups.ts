// cgroups as slices of systemd: it makes and limits them, so that it does not undo what it knows nothing about. What it
// has no property for is written beside it (pkg/kubelet/cm, cgroup driver systemd).
import type { Clock } from '#kube/process/clock.ts';
import { type Bus, BusError } from '../systemd/bus.ts';
import type { CgroupFs, CgroupLimits } from './cgroup-fs.ts';
import { sliceProperties, unitProperties } from './systemd-units.ts';

const destination = 'org.freedesktop.systemd1';
const path = '/org/freedesktop/systemd1';
const manager = 'org.freedesktop.systemd1.Manager';
const jobTimeoutMs = 30_000;
/** Jobs that ended before anybody asked for them. */
const maxFinished = 1000;

/** Wraps a hierarchy; names that are not slices go to it as they are. */
export function createSystemdCgroups(fs: CgroupFs, bus: Bus, clock: Clock): CgroupFs {
  const waiting = new Map<string, (result: string) => void>();
  const finished = new Map<string, string>();
  let watching: Promise<unknown> | undefined;

  const call = (member: string, signature: string, body: unknown[]) =>
    bus.call({ destination, path, interface: manager, member, ...(signature === '' ? {} : { signature, body }) });

  function jobRemoved([, job, , result]: unknown[]): void {
    const resolve = waiting.get(String(job));
    if (resolve !== undefined) {
      resolve(String(result));
      return;
    }
    finished.set(String(job), String(result));
    const [oldest] = finished.keys();
    if (finished.size > maxFinished && oldest !== undefined) finished.delete(oldest);
  }

  function watch(): Promise<unknown> {
    watching ??= bus
      .watch({ path, interface: manager, member: 'JobRemoved' }, jobRemoved)
      // Without it systemd tells nobody.
      .then(() => call('Subscribe', '', []))
      .catch((error: unknown) => {
        watching = undefined;
        throw error;
      });
    return watching;
  }

  async function finish(job: string, what: string): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    waiting.set(job, resolve);
    const early = finished.get(job);
    if (early !== undefined) resolve(early);
    const timer = clock.after(jobTimeoutMs, () => reject(new Error(`systemd did not finish ${what} in 30 seconds`)));
    try {
      const result = await promise;
      if (result !== 'done') throw new Error(`systemd ended ${what} with result ${result}`);
    } finally {
      timer.cancel();
      waiting.delete(job);
      finished.delete(job);
    }
  }

  async function start(slice: string): Promise<void> {
    await watch();
    try {
      const properties = sliceProperties(slice, fs.version);
      const [job] = await call('StartTransientUnit', 'ssa(sv)a(sa(sv))', [slice, 'replace', properties, []]);
      await finish(String(job), `starting ${slice}`);
    } catch (error) {
      if (!(error instanceof BusError) || error.errorName !== 'org.freedesktop.systemd1.UnitExists') throw error;
    }
  }

  const slicesOf = (name: string) => name.split('/').filter((part) => part !== '');
  const isSlice = (name: string) => slicesOf(name).every((part) => part.endsWith('.slice'));

  async function limit(slice: string, limits: CgroupLimits): Promise<void> {
    const properties = unitProperties(limits, fs.version);
    if (properties.length > 0) await call('SetUnitProperties', 'sba(sv)', [slice, true, properties]);
  }

  return {
    ...fs,
    async ensure(name, limits) {
      if (isSlice(name)) {
        let own = '';
        for (const slice of slicesOf(name)) {
          own = `${own}/${slice}`;
          if (!(await fs.exists(own))) await start(slice);
        }
        await limit(slicesOf(name).at(-1) ?? '', limits);
      }
      await fs.ensure(name, limits);
    },
    async remove(name) {
      const slice = slicesOf(name).at(-1);
      if (slice !== undefined && isSlice(name) && (await fs.exists(name))) {
        await watch();
        try {
          const [job] = await call('StopUnit', 'ss', [slice, 'replace']);
          await finish(String(job), `stopping ${slice}`);
        } catch (error) {
          const isGone = error instanceof BusError && error.errorName === 'org.freedesktop.systemd1.NoSuchUnit';
          if (!isGone) throw error;
        }
      }
      await fs.remove(name);
    },
  };
}

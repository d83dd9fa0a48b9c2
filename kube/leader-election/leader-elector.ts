// One leader among equals, by a Lease: who holds it works, everyone else waits until it is not renewed.
// Timing rules are upstream's (client-go tools/leaderelection): expiry is judged by the local clock only.
import type { Logger } from 'pino';
import type { Lease, LeaseSpec } from '../api/generated/coordination-v1.ts';
import { leases } from '../api/generated/resources.ts';
import { formatMicroTime } from '../api/time.ts';
import type { ApiClient } from '../client/types.ts';
import { isNotFound } from '../errors/status-error.ts';
import type { Clock } from '../process/clock.ts';

export interface LeaderElectorOptions {
  client: ApiClient;
  namespace: string;
  /** The Lease's name. */
  name: string;
  /** Unique among the candidates, for example host name and a random part. */
  identity: string;
  /** How long others wait after the last renewal they saw. */
  leaseDurationMs?: number;
  /** How long the leader goes on trying to renew before it steps down. */
  renewDeadlineMs?: number;
  retryPeriodMs?: number;
  clock: Clock;
  logger: Logger;
  random?: () => number;
}

/** The leader could not renew its lease in time: the process must not go on as leader. */
export class LeadershipLost extends Error {
  readonly code = 'LEADERSHIP_LOST';

  constructor(name: string) {
    super(`lost the lease ${name}`);
    this.name = 'LeadershipLost';
  }
}

interface Observed {
  spec: string;
  atMs: number;
}

/**
 * Waits to become leader, then runs `lead` until it ends or the signal is aborted, and gives the lease back.
 * Throws LeadershipLost after stopping `lead` when the lease could not be renewed.
 */
export async function runAsLeader(
  options: LeaderElectorOptions,
  lead: (signal: AbortSignal) => Promise<void>,
  signal: AbortSignal,
): Promise<void> {
  const { client, namespace, name, identity, clock, logger, random = Math.random } = options;
  const { leaseDurationMs = 15_000, renewDeadlineMs = 10_000, retryPeriodMs = 2_000 } = options;
  let observed: Observed | undefined;

  function specFor(held: LeaseSpec | undefined): LeaseSpec {
    const now = formatMicroTime(clock.now());
    const mine = held?.holderIdentity === identity;
    const transitions = held?.leaseTransitions ?? 0;
    return {
      holderIdentity: identity,
      leaseDurationSeconds: Math.ceil(leaseDurationMs / 1000),
      acquireTime: mine ? held?.acquireTime : now,
      renewTime: now,
      leaseTransitions: mine || held === undefined ? transitions : transitions + 1,
    };
  }

  async function write(lease: Lease | undefined): Promise<void> {
    const timeoutMs = renewDeadlineMs / 2;
    const spec = specFor(lease?.spec);
    const saved =
      lease === undefined
        ? await client.create(leases, namespace, { metadata: { name, namespace }, spec }, { timeoutMs })
        : await client.update(leases, { ...lease, spec }, { timeoutMs });
    observed = { spec: JSON.stringify(saved.spec), atMs: clock.monotonicMs() };
  }

  /** True when this process holds the lease now. */
  async function acquireOrRenew(): Promise<boolean> {
    try {
      let lease: Lease | undefined;
      try {
        lease = await client.get(leases, { namespace, name }, { timeoutMs: renewDeadlineMs / 2 });
      } catch (error) {
        if (!isNotFound(error)) throw error;
      }
      const spec = JSON.stringify(lease?.spec);
      if (lease !== undefined && observed?.spec !== spec) observed = { spec, atMs: clock.monotonicMs() };
      const holder = lease?.spec?.holderIdentity ?? '';
      const expired = observed === undefined || clock.monotonicMs() - observed.atMs >= leaseDurationMs;
      if (holder !== '' && holder !== identity && !expired) return false;
      await write(lease);
      return true;
    } catch (error) {
      logger.debug({ err: error, lease: name }, 'cannot take the lease');
      return false;
    }
  }

  /** Returns when the lease was not renewed for the deadline, or when stopped. */
  async function keepRenewing(stop: AbortSignal): Promise<'lost' | 'stopped'> {
    let renewedMs = clock.monotonicMs();
    while (!stop.aborted) {
      try {
        await clock.sleep(retryPeriodMs, stop);
      } catch {
        return 'stopped';
      }
      if (await acquireOrRenew()) renewedMs = clock.monotonicMs();
      else if (clock.monotonicMs() - renewedMs >= renewDeadlineMs) return 'lost';
    }
    return 'stopped';
  }

  async function release(): Promise<void> {
    try {
      const lease = await client.get(leases, { namespace, name }, { timeoutMs: retryPeriodMs });
      if (lease.spec?.holderIdentity !== identity) return;
      const spec = { ...lease.spec, holderIdentity: '', leaseDurationSeconds: 1 };
      await client.update(leases, { ...lease, spec }, { timeoutMs: retryPeriodMs });
    } catch (error) {
      logger.debug({ err: error, lease: name }, 'cannot release the lease; it will expire');
    }
  }

  while (!(await acquireOrRenew())) {
    await clock.sleep(retryPeriodMs * (1 + 1.2 * random()), signal);
  }
  signal.throwIfAborted();
  logger.info({ lease: name, identity }, 'became leader');
  const term = new AbortController();
  const stop = () => term.abort(signal.reason);
  signal.addEventListener('abort', stop, { once: true });
  const renewal = keepRenewing(term.signal);
  void renewal.then((outcome) => {
    if (outcome === 'lost') term.abort(new LeadershipLost(name));
  });
  try {
    await lead(term.signal);
  } finally {
    signal.removeEventListener('abort', stop);
    term.abort();
    if ((await renewal) === 'stopped') await release();
  }
  if ((await renewal) === 'lost') throw new LeadershipLost(name);
}

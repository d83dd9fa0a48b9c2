// What a service tells the systemd that started it (sd_notify(3)): that it is ready, that it ends, and, as long as it is
// well, that it is alive. Node has no datagram sockets of the Unix kind, so systemd's own program speaks for it.
import type { Logger } from 'pino';
import type { Clock } from './clock.ts';
import type { Exec } from './exec.ts';

const sendTimeoutMs = 10_000;

export interface ServiceNotifierOptions {
  /** NOTIFY_SOCKET and WATCHDOG_USEC are read: without the first nothing is told. */
  env: Record<string, string | undefined>;
  exec: Exec;
  clock: Clock;
  logger: Logger;
}

export interface ServiceNotifier {
  /**
   * Tells that the service is ready when `ready` resolves, feeds the watchdog while `problem` finds none, and tells
   * when the end begins. Resolves when the signal is aborted.
   */
  run(service: { ready: Promise<unknown>; problem(): string | undefined }, signal: AbortSignal): Promise<void>;
}

/** Milliseconds between two signs of life, half of what systemd waits for; undefined where it does not watch. */
export function watchdogPeriodMs(env: Record<string, string | undefined>): number | undefined {
  const limitUs = Number(env['WATCHDOG_USEC'] ?? '');
  return Number.isFinite(limitUs) && limitUs > 0 ? limitUs / 2000 : undefined;
}

/** Creates the notifier; nothing is told before `run`. */
export function createServiceNotifier({ env, exec, clock, logger }: ServiceNotifierOptions): ServiceNotifier {
  const isService = (env['NOTIFY_SOCKET'] ?? '') !== '';

  async function tell(...states: string[]): Promise<void> {
    try {
      const { exitCode, stderr } = await exec('systemd-notify', states, { timeoutMs: sendTimeoutMs });
      if (exitCode !== 0) logger.warn({ stderr: stderr.trim() }, 'cannot tell systemd the state of the service');
    } catch (error) {
      logger.warn({ err: error }, 'cannot tell systemd the state of the service');
    }
  }

  async function feed(periodMs: number, problem: () => string | undefined, signal: AbortSignal): Promise<void> {
    while (!signal.aborted) {
      const found = problem();
      if (found === undefined) await tell('WATCHDOG=1');
      else logger.error({ problem: found }, 'the watchdog is not fed');
      await clock.sleep(periodMs, signal).catch(() => undefined);
    }
  }

  return {
    async run({ ready, problem }, signal) {
      const aborted = new Promise<void>((resolve) => {
        if (signal.aborted) resolve();
        else signal.addEventListener('abort', () => resolve(), { once: true });
      });
      if (!isService) return aborted;
      const periodMs = watchdogPeriodMs(env);
      const feeding = periodMs === undefined ? undefined : feed(periodMs, problem, signal);
      await Promise.race([ready, aborted]);
      if (!signal.aborted) await tell('READY=1');
      await aborted;
      await feeding;
      await tell('STOPPING=1');
    },
  };
}

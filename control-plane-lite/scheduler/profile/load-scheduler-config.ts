// Reads a KubeSchedulerConfiguration. What cannot be honoured is refused in one line; what has no meaning here is
// accepted (docs/scheduler.md has the list).
import { loadConfigFile } from '#kube/process/config-file.ts';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';
import { defaultQueueTimes } from '../queue/scheduling-queue.ts';
import { schedulerConfigShape } from './config-shape.ts';
import { parsePluginArgs } from './parse-plugin-args.ts';
import { type PluginSets, parsePlugins } from './parse-plugins.ts';
import type { ProfileConfig } from './profile-config.ts';
import {
  defaultElection,
  defaultSchedulerConfig,
  type SchedulerConfig,
  type SchedulerElection,
} from './scheduler-config.ts';

/** As the file has it; its shape has been checked. */
interface RawProfile {
  schedulerName?: string | null;
  percentageOfNodesToScore?: number | null;
  plugins?: PluginSets | null;
  pluginConfig?: { name?: string; args?: unknown }[] | null;
}

function checkPercentage(at: string, value: unknown): void {
  if (value === undefined || value === null) return;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 0 || number > 100) {
    throw new UsageError(`${at} takes a whole number from 0 to 100, not ${number}`);
  }
}

function parseProfiles(raw: readonly RawProfile[]): readonly ProfileConfig[] {
  if (raw.length === 0) return defaultSchedulerConfig.profiles;
  const names = new Set<string>();
  return raw.map((profile, index) => {
    const at = `profiles[${index}]`;
    const schedulerName = profile.schedulerName ?? (raw.length === 1 ? 'default-scheduler' : '');
    if (schedulerName === '') throw new UsageError(`${at}.schedulerName is needed where there are several profiles`);
    if (names.has(schedulerName)) throw new UsageError(`${at}.schedulerName: ${schedulerName} is there twice`);
    names.add(schedulerName);
    checkPercentage(`${at}.percentageOfNodesToScore`, profile.percentageOfNodesToScore);
    return {
      schedulerName,
      ...parsePlugins(`${at}.plugins`, profile.plugins ?? {}),
      args: parsePluginArgs(`${at}.pluginConfig`, profile.pluginConfig ?? []),
    };
  });
}

function parseElection(raw: Readonly<Record<string, unknown>>): SchedulerElection {
  const duration = (name: string, otherwise: number) =>
    raw[name] === undefined || raw[name] === null ? otherwise : parseDurationMs(String(raw[name]));
  const election = {
    leaderElect: typeof raw['leaderElect'] === 'boolean' ? raw['leaderElect'] : undefined,
    leaseDurationMs: duration('leaseDuration', defaultElection.leaseDurationMs),
    renewDeadlineMs: duration('renewDeadline', defaultElection.renewDeadlineMs),
    retryPeriodMs: duration('retryPeriod', defaultElection.retryPeriodMs),
    name: String(raw['resourceName'] ?? defaultElection.name),
    namespace: String(raw['resourceNamespace'] ?? defaultElection.namespace),
  };
  const lock = String(raw['resourceLock'] ?? 'leases');
  if (lock !== 'leases') throw new UsageError(`leaderElection.resourceLock takes leases, not ${JSON.stringify(lock)}`);
  if (election.retryPeriodMs <= 0) throw new UsageError('leaderElection.retryPeriod must be greater than zero');
  if (election.renewDeadlineMs <= 1.2 * election.retryPeriodMs) {
    throw new UsageError('leaderElection.renewDeadline must be greater than retryPeriod and a fifth of it');
  }
  if (election.leaseDurationMs <= election.renewDeadlineMs) {
    throw new UsageError('leaderElection.leaseDuration must be greater than renewDeadline');
  }
  return election;
}

function seconds(name: string, value: unknown, otherwiseMs: number): number {
  if (value === undefined) return otherwiseMs;
  const number = Number(value);
  if (!Number.isInteger(number) || number < 1)
    throw new UsageError(`${name} takes a whole number above zero, not ${number}`);
  return number * 1000;
}

function parse(fields: Readonly<Record<string, unknown>>): SchedulerConfig {
  const extenders = (fields['extenders'] ?? []) as unknown;
  if (!Array.isArray(extenders) || extenders.length > 0) {
    throw new UsageError('extenders are not supported: use a profile, or a scheduler of its own');
  }
  if (fields['parallelism'] !== undefined) seconds('parallelism', fields['parallelism'], 0);
  checkPercentage('percentageOfNodesToScore', fields['percentageOfNodesToScore']);
  const { initialBackoffMs, maxBackoffMs, maxUnschedulableMs } = defaultQueueTimes;
  const times = {
    initialBackoffMs: seconds('podInitialBackoffSeconds', fields['podInitialBackoffSeconds'], initialBackoffMs),
    maxBackoffMs: seconds('podMaxBackoffSeconds', fields['podMaxBackoffSeconds'], maxBackoffMs),
    maxUnschedulableMs,
  };
  if (times.maxBackoffMs < times.initialBackoffMs) {
    throw new UsageError('podMaxBackoffSeconds must be greater than or equal to podInitialBackoffSeconds');
  }
  return {
    profiles: parseProfiles((fields['profiles'] ?? []) as RawProfile[]),
    times,
    election: parseElection((fields['leaderElection'] ?? {}) as Record<string, unknown>),
  };
}

/** Throws UsageError with one line that names the file and the field. */
export function loadSchedulerConfig(path: string): SchedulerConfig {
  const expected = {
    apiVersion: 'kubescheduler.config.k8s.io/v1',
    kind: 'KubeSchedulerConfiguration',
    shape: schedulerConfigShape,
  };
  const fields = loadConfigFile(path, expected);
  try {
    return parse(fields);
  } catch (error) {
    if (error instanceof UsageError) throw new UsageError(`${path}: ${error.message}`, { cause: error });
    throw error;
  }
}

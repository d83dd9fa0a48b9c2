// What a KubeSchedulerConfiguration comes down to here.
import { defaultQueueTimes, type QueueTimes } from '../queue/scheduling-queue.ts';
import { defaultProfileConfig, type ProfileConfig } from './profile-config.ts';

/** Upstream's leaderElection, for the lease of the scheduler; what is absent follows the control plane. */
export interface SchedulerElection {
  leaderElect: boolean | undefined;
  leaseDurationMs: number;
  renewDeadlineMs: number;
  retryPeriodMs: number;
  name: string;
  namespace: string;
}

export interface SchedulerConfig {
  profiles: readonly ProfileConfig[];
  times: QueueTimes;
  election: SchedulerElection;
}

export const defaultElection: SchedulerElection = {
  leaderElect: undefined,
  leaseDurationMs: 15_000,
  renewDeadlineMs: 10_000,
  retryPeriodMs: 2000,
  name: 'kube-scheduler',
  namespace: 'kube-system',
};

/** Without a file. */
export const defaultSchedulerConfig: SchedulerConfig = {
  profiles: [defaultProfileConfig()],
  times: defaultQueueTimes,
  election: defaultElection,
};

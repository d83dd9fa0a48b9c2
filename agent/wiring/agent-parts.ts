// What the agent is built from: settings, connections and facts found at start.
import type { Logger } from 'pino';
import type { ApiClient } from '#kube/client/types.ts';
import type { ComponentMetrics } from '#kube/metrics/metrics.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { ServiceNotifier } from '#kube/process/service-notifier.ts';
import type { NodeCertificates } from '../certificate/node-certificates.ts';
import type { AgentSettings } from '../config/settings.ts';
import type { ImageService } from '../cri/image-service.ts';
import type { PullProgress } from '../cri/pull-progress.ts';
import type { RuntimeService } from '../cri/runtime-service.ts';
import type { MachineFacts } from '../node/machine-facts.ts';

/** What the agent is given. */
export interface AgentParts {
  settings: AgentSettings;
  nodeName: string;
  nodeIps: string[];
  facts: MachineFacts;
  runtime: RuntimeService;
  images: ImageService;
  pullProgress: PullProgress;
  /** As the runtime calls itself, for example containerd and 1.6.20. */
  runtimeName: string;
  runtimeVersion: string;
  client: ApiClient;
  /** With a rate limit of its own. */
  eventClient: ApiClient;
  /** For the Node object and its Lease. */
  heartbeatClient: ApiClient;
  certificates: NodeCertificates;
  /** Tells systemd how the agent is. */
  notifier: ServiceNotifier;
  metrics: ComponentMetrics;
  clock: Clock;
  exec: Exec;
  logger: Logger;
}

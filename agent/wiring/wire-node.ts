// The node as an object of the API: the runtime's health, the node's status and who reports both.
import type { DeviceCounts } from '../device-plugin/device-inventory.ts';
import type { Pressure } from '../eviction/plan-pressure.ts';
import { createNodeReporter } from '../node/node-reporter.ts';
import { createNodeStatusSource } from '../node/node-status-source.ts';
import { planAnnotations, planTaints } from '../node/plan-registration.ts';
import { createRuntimeHealth } from '../node/runtime-health.ts';
import type { ShutdownState } from '../shutdown/graceful-shutdown.ts';
import type { AgentParts } from './agent-parts.ts';
import type { RuntimeParts } from './wire-runtime.ts';

/** What the node's status tells of other parts. */
export interface NodeFacts {
  pressure(): Pressure;
  devices(): ReadonlyMap<string, DeviceCounts>;
}

/** Connects what reports the node. */
export function wireNode(parts: AgentParts, { direct, images }: RuntimeParts, tells: NodeFacts) {
  const { settings, nodeName, nodeIps, facts, clock, logger } = parts;
  const shutdown: ShutdownState = { isActive: false };
  const health = createRuntimeHealth(direct, clock, logger, () => reporter.wake());
  const nodeStatus = createNodeStatusSource({
    settings,
    facts,
    nodeName,
    nodeIps,
    images,
    runtimeVersion: `${parts.runtimeName}://${parts.runtimeVersion}`,
    problems: () => [...health.problems(), ...(shutdown.isActive ? ['node is shutting down'] : [])],
    abilities: health.abilities,
    ...tells,
    clock,
  });
  const isExternalCloud = settings.cloudProvider === 'external';
  const reporter = createNodeReporter({
    client: parts.heartbeatClient,
    clock,
    logger,
    nodeName,
    register: settings.registerNode,
    ownLabels: {
      'beta.kubernetes.io/arch': facts.architecture,
      'beta.kubernetes.io/os': 'linux',
      'kubernetes.io/arch': facts.architecture,
      'kubernetes.io/hostname': nodeName,
      'kubernetes.io/os': 'linux',
    },
    labels: settings.nodeLabels,
    annotations: planAnnotations(isExternalCloud, settings.nodeIps),
    taints: planTaints(isExternalCloud, settings.taints),
    providerId: settings.providerId,
    status: nodeStatus,
    updatePeriodMs: settings.nodeStatusUpdateMs,
    reportPeriodMs: settings.nodeStatusReportMs,
    leaseDurationSeconds: settings.leaseDurationSeconds,
  });
  return { health, nodeStatus, reporter, shutdown };
}

/** What `wireNode` made. */
export type NodeParts = ReturnType<typeof wireNode>;

// Which fields of KubeletConfiguration have no effect here, and why. Every other field of the shape is honoured;
// docs/configuration.md shows the same, and a test compares both.

/** Why a field is accepted and not honoured, by its dotted path. Take an entry out when the field comes to do something. */
export const notHonoured: Readonly<Record<string, string>> = {
  contentType: 'requests are JSON',
  configMapAndSecretChangeDetectionStrategy: 'objects are always watched',
  enableContentionProfiling: 'a Go profile',
  enableControllerAttachDetach: 'volumes are always attached by the controller',
  enableDebugFlagsHandler: 'log levels do not change at run time',
  enableProfilingHandler: 'Go profiles',
  hairpinMode: 'the network plugin decides',
  iptablesDropBit: 'upstream uses it no more',
  iptablesMasqueradeBit: 'upstream uses it no more',
  kernelMemcgNotification: 'memory is looked at in intervals',
  kubeletCgroups: 'the agent stays in the cgroup it was started in',
  'logging.flushFrequency': 'each line is written at once',
  'logging.options': 'each line is written at once',
  'logging.vmodule': 'levels are not set by file',
  'logging.format': 'log lines are always JSON',
  makeIPTablesUtilChains: 'the proxy makes its own chains',
  maxOpenFiles: 'the service manager sets the limit',
  memoryReservationPolicy: 'memory is not reserved yet',
  podCIDR: 'the range of the Node object is used',
  qosReserved: 'memory is not reserved by class',
  showHiddenMetricsForVersion: 'no metric is hidden',
  systemCgroups: 'processes are not moved',
  tracing: 'spans are not exported',
  volumePluginDir: 'there are no FlexVolume plugins',
};

function valueAt(fields: Record<string, unknown>, path: string): unknown {
  return path.split('.').reduce<unknown>((value, name) => {
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[name] : undefined;
  }, fields);
}

/** Features that change something here; all others are accepted. */
export const knownFeatures: ReadonlySet<string> = new Set([
  'CPUManagerPolicyAlphaOptions',
  'CPUManagerPolicyBetaOptions',
  'CustomCPUCFSQuotaPeriod',
  'DisableCPUQuotaWithExclusiveCPUs',
  'MemoryQoS',
  'ReduceDefaultCrashLoopBackOffDecay',
  'ResourceHealthStatus',
]);

/** A warning for each feature that is switched and has no effect. */
export function warnOfFeatures(gates: unknown): string[] {
  const names = typeof gates === 'object' && gates !== null ? Object.keys(gates) : [];
  const idle = names.filter((name) => !knownFeatures.has(name)).sort();
  return idle.map((name) => `feature gate ${name} is accepted and has no effect`);
}

/** A warning for each field that asks for something other than the default and gets no effect. */
export function warnOfFields(configuration: Record<string, unknown>, defaults: Record<string, unknown>): string[] {
  return Object.entries(notHonoured).flatMap(([path, reason]) => {
    const value = valueAt(configuration, path);
    if (value === undefined || JSON.stringify(value) === JSON.stringify(valueAt(defaults, path))) return [];
    if (value === false && valueAt(defaults, path) === undefined) return [];
    return [`field ${path} is accepted and not honoured: ${reason}`];
  });
}

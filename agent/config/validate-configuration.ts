// What a configuration may hold (pkg/kubelet/apis/config/validation/validation.go: ValidateKubeletConfiguration), in
// kubelet's words. Pure. Fields have defaults already, so that only impossible values are left to find.
import { isAbsolute, normalize } from 'node:path';
import { parseDurationMs } from '#kube/process/flags.ts';
import { type Fields, isRecord } from './merge-layers.ts';
import { validateEnforcement } from './validate-enforcement.ts';
import {
  validateGates,
  validateLogging,
  validateReservedMemory,
  validateRest,
  validateTracing,
} from './validate-nested.ts';

type Mistake = string;

function number(c: Fields, name: string): number {
  return Number(c[name] ?? 0);
}

function seconds(c: Fields, name: string): number {
  const value = c[name];
  return typeof value === 'string' ? parseDurationMs(value) / 1000 : 0;
}

function quoted(list: readonly string[]): string {
  return list.map((item) => JSON.stringify(item)).join(', ');
}

/** Fields that must not be below zero, with the flag that sets them. */
const notNegative: [field: string, flag: string][] = [
  ['eventBurst', '--event-burst'],
  ['eventRecordQPS', '--event-qps'],
  ['kubeAPIBurst', '--kube-api-burst'],
  ['kubeAPIQPS', '--kube-api-qps'],
  ['maxOpenFiles', '--max-open-files'],
  ['maxPods', '--max-pods'],
  ['podsPerCore', '--pods-per-core'],
  ['registryBurst', '--registry-burst'],
  ['registryPullQPS', '--registry-qps'],
];

/** Fields with a least and a greatest value. */
const ranges: [field: string, flag: string, least: number, most: number][] = [
  ['imageGCHighThresholdPercent', '--image-gc-high-threshold', 0, 100],
  ['imageGCLowThresholdPercent', '--image-gc-low-threshold', 0, 100],
  ['iptablesDropBit', '--iptables-drop-bit', 0, 31],
  ['iptablesMasqueradeBit', '--iptables-masquerade-bit', 0, 31],
  ['oomScoreAdj', '--oom-score-adj', -1000, 1000],
  ['port', '--port', 1, 65535],
];

function validateNumbers(c: Fields): Mistake[] {
  const mistakes = notNegative.flatMap(([field, flag]) =>
    number(c, field) < 0 ? [`${field} (${flag}) ${number(c, field)} must not be a negative number`] : [],
  );
  for (const [field, flag, least, most] of ranges) {
    const value = number(c, field);
    if (!(value >= least && value <= most)) {
      mistakes.push(`${field} (${flag}) ${value} must be between ${least} and ${most}, inclusive`);
    }
  }
  for (const [field, flag, least] of [
    ['healthzPort', '--healthz-port', 1],
    ['readOnlyPort', '--read-only-port', 0],
  ] as const) {
    const value = number(c, field);
    if (!(value >= 0 && value <= 65535)) {
      mistakes.push(`${field} (${flag}) ${value} must be between ${least} and 65535, inclusive`);
    }
  }
  if (number(c, 'nodeLeaseDurationSeconds') <= 0) mistakes.push('nodeLeaseDurationSeconds must be greater than 0');
  if (number(c, 'nodeStatusMaxImages') < -1) {
    const images = number(c, 'nodeStatusMaxImages');
    mistakes.push(`nodeStatusMaxImages (--node-status-max-images) ${images} must be -1 or greater`);
  }
  const [low, high] = [number(c, 'imageGCLowThresholdPercent'), number(c, 'imageGCHighThresholdPercent')];
  if (low >= high) {
    const names = ['imageGCLowThresholdPercent (--image-gc-low-threshold)', 'imageGCHighThresholdPercent'];
    mistakes.push(`${names[0]} ${low} must be less than ${names[1]} (--image-gc-high-threshold) ${high}`);
  }
  return mistakes;
}

function validateTimes(c: Fields): Mistake[] {
  const mistakes: Mistake[] = [];
  const [least, most] = [seconds(c, 'imageMinimumGCAge'), seconds(c, 'imageMaximumGCAge')];
  const [leastText, mostText] = [String(c['imageMinimumGCAge']), String(c['imageMaximumGCAge'])];
  if (least < 0) mistakes.push(`imageMinimumGCAge ${leastText} must not be negative`);
  if (most < 0) mistakes.push(`imageMaximumGCAge ${mostText} must not be negative`);
  if (most > 0 && most <= least) {
    mistakes.push(`imageMaximumGCAge ${mostText} must be greater than imageMinimumGCAge ${leastText}`);
  }
  const quota = seconds(c, 'cpuCFSQuotaPeriod');
  const quotaText = `cpuCFSQuotaPeriod (--cpu-cfs-quota-period) ${String(c['cpuCFSQuotaPeriod'])}`;
  const isCustom = isRecord(c['featureGates']) && String(c['featureGates']['CustomCPUCFSQuotaPeriod']) === 'true';
  if (!isCustom && quota !== 0.1) mistakes.push(`${quotaText} requires feature gate CustomCPUCFSQuotaPeriod`);
  if (isCustom && !(quota >= 0.001 && quota <= 1))
    mistakes.push(`${quotaText} must be between 1ms and 1sec, inclusive`);
  const [all, critical] = [seconds(c, 'shutdownGracePeriod'), seconds(c, 'shutdownGracePeriodCriticalPods')];
  const [allText, criticalText] = [String(c['shutdownGracePeriod']), String(c['shutdownGracePeriodCriticalPods'])];
  if (critical > all) {
    mistakes.push(`shutdownGracePeriodCriticalPods ${criticalText} must be <= shutdownGracePeriod ${allText}`);
  }
  const isOff = (value: number) => value === 0 || value >= 1;
  if (!isOff(all)) mistakes.push(`shutdownGracePeriod ${allText} must be either zero or otherwise >= 1 sec`);
  if (!isOff(critical)) {
    mistakes.push(`shutdownGracePeriodCriticalPods ${criticalText} must be either zero or otherwise >= 1 sec`);
  }
  const byPriority = c['shutdownGracePeriodByPodPriority'];
  if (Array.isArray(byPriority) && byPriority.length > 0 && (all > 0 || critical > 0)) {
    mistakes.push('Cannot specify both shutdownGracePeriodByPodPriority and shutdownGracePeriod at the same time');
  }
  const { maxContainerRestartPeriod: longest } = isRecord(c['crashLoopBackOff']) ? c['crashLoopBackOff'] : {};
  const longestSeconds = typeof longest === 'string' ? parseDurationMs(longest) / 1000 : 1;
  if (longestSeconds < 1 || longestSeconds > 300) {
    const got = `(got: ${longestSeconds} seconds)`;
    mistakes.push(`CrashLoopBackOff.MaxContainerRestartPeriod ${got} must be set between 1s and 300s`);
  }
  if (seconds(c, 'containerLogMonitorInterval') < 3) {
    mistakes.push('containerLogMonitorInterval must be a positive time duration greater than or equal to 3s');
  }
  return mistakes;
}

/** Fields that take one of a few words: how the mistake is worded, and the words. */
const choices: [field: string, words: readonly string[], message: (value: string) => string][] = [
  [
    'topologyManagerPolicy',
    ['none', 'best-effort', 'restricted', 'single-numa-node'],
    (value) =>
      `topologyManagerPolicy (--topology-manager-policy) ${value} must be one of: ["none" "best-effort" "restricted" "single-numa-node"]`,
  ],
  [
    'topologyManagerScope',
    ['container', 'pod'],
    (value) => `topologyManagerScope (--topology-manager-scope) ${value} must be one of: "container", or "pod"`,
  ],
  [
    'hairpinMode',
    ['none', 'hairpin-veth', 'promiscuous-bridge'],
    (value) =>
      `option ${value} specified for hairpinMode (--hairpin-mode). Valid options are "none", "hairpin-veth" or "promiscuous-bridge"`,
  ],
  [
    'imagePullCredentialsVerificationPolicy',
    ['NeverVerify', 'NeverVerifyPreloadedImages', 'NeverVerifyAllowlistedImages', 'AlwaysVerify'],
    (value) =>
      `option ${value} specified for imagePullCredentialsVerificationPolicy. Valid options are "NeverVerify", "NeverVerifyPreloadedImages", "NeverVerifyAllowlistedImages" or "AlwaysVerify"`,
  ],
  [
    'memoryReservationPolicy',
    ['None', 'TieredReservation'],
    (value) => `option ${value} specified for memoryReservationPolicy. Valid options are "None" or "TieredReservation"`,
  ],
];

function validateChoices(c: Fields): Mistake[] {
  const mistakes = choices.flatMap(([field, words, message]) => {
    const value = c[field];
    return value === undefined || words.includes(String(value)) ? [] : [message(JSON.stringify(value))];
  });
  const { swapBehavior = '' } = isRecord(c['memorySwap']) ? c['memorySwap'] : {};
  if (!['', 'NoSwap', 'LimitedSwap'].includes(String(swapBehavior))) {
    const words = quoted(['', 'LimitedSwap']);
    mistakes.push(`memorySwap.swapBehavior ${JSON.stringify(swapBehavior)} must be one of: ${words} or "NoSwap"`);
  }
  return mistakes;
}

function validateLogs(c: Fields): Mistake[] {
  const mistakes: Mistake[] = [];
  if (number(c, 'containerLogMaxWorkers') < 1)
    mistakes.push('containerLogMaxWorkers must be greater than or equal to 1');
  if (number(c, 'containerLogMaxFiles') <= 1) mistakes.push('containerLogMaxFiles must be greater than 1');
  const path = String(c['podLogsDir'] ?? '');
  if (path === '') mistakes.push('podLogsDir was not specified');
  const what = `pod logs path ${JSON.stringify(path)}`;
  if (!isAbsolute(path)) mistakes.push(`${what} must be absolute path`);
  if (normalize(path) !== path || (path.length > 1 && path.endsWith('/'))) mistakes.push(`${what} must be normalized`);
  if ([...path].some((character) => character.charCodeAt(0) > 127)) {
    mistakes.push(`${what} mut contains ASCII characters only`);
  }
  if (c['enableSystemLogQuery'] === true && c['enableSystemLogHandler'] !== true) {
    mistakes.push('enableSystemLogHandler is required for enableSystemLogQuery');
  }
  return mistakes;
}

/** Why the text is no list of processors, as Go's reader says it. */
function cpuListFault(text: string): string | undefined {
  for (const range of text.split(',')) {
    const bounds = range.split('-', 2).concat(range.split('-').length > 2 ? [range] : []);
    const wrong = bounds.find((bound) => !/^\d+$/.test(bound));
    if (wrong !== undefined) return `strconv.Atoi: parsing ${JSON.stringify(wrong)}: invalid syntax`;
    const [first = '', last = first] = bounds;
    if (Number(last) < Number(first)) return `invalid range ${JSON.stringify(range)} (${first} > ${last})`;
  }
  return undefined;
}

function validateReservations(c: Fields): Mistake[] {
  const mistakes: Mistake[] = [];
  if ((c['systemCgroups'] ?? '') !== '' && (c['cgroupRoot'] ?? '') === '') {
    mistakes.push('systemCgroups (--system-cgroups) was specified and cgroupRoot (--cgroup-root) was not specified');
  }
  const cpus = String(c['reservedSystemCPUs'] ?? '');
  if (cpus !== '') {
    if ((c['systemReservedCgroup'] ?? '') !== '' || (c['kubeReservedCgroup'] ?? '') !== '') {
      const others = 'systemReservedCgroup (--system-reserved-cgroup) or kubeReservedCgroup (--kube-reserved-cgroup)';
      mistakes.push(`can't use reservedSystemCPUs (--reserved-cpus) with ${others}`);
    }
    const fault = cpuListFault(cpus);
    if (fault !== undefined) {
      mistakes.push(`unable to parse reservedSystemCPUs (--reserved-cpus) ${cpus}, error: ${fault}`);
    }
  }
  const factor = c['memoryThrottlingFactor'];
  if (typeof factor === 'number' && (factor <= 0 || factor > 1)) {
    mistakes.push(`memoryThrottlingFactor ${factor} must be greater than 0 and less than or equal to 1.0`);
  }
  const gates = isRecord(c['featureGates']) ? c['featureGates'] : {};
  if (c['memoryReservationPolicy'] === 'TieredReservation' && String(gates['MemoryQoS']) !== 'true') {
    mistakes.push('memoryReservationPolicy "TieredReservation" requires MemoryQoS feature gate to be enabled');
  }
  return mistakes;
}

function validatePulls(c: Fields): Mistake[] {
  const most = c['maxParallelImagePulls'];
  const allowed = c['preloadedImagesVerificationAllowlist'];
  const mistakes: Mistake[] = [];
  if (typeof most === 'number' && most < 1) mistakes.push(`maxParallelImagePulls ${most} must be a positive number`);
  if (typeof most === 'number' && most > 1 && c['serializeImagePulls'] === true) {
    const flag = 'SerializeImagePulls (--serialize-image-pulls)';
    mistakes.push(`maxParallelImagePulls cannot be larger than 1 unless ${flag} is set to false`);
  }
  const policy = c['imagePullCredentialsVerificationPolicy'];
  if (Array.isArray(allowed) && allowed.length > 0 && policy !== 'NeverVerifyAllowlistedImages') {
    const needed = '`imagePullCredentialsVertificationPolicy` is not "NeverVerifyAllowlistedImages"';
    mistakes.push(`can't set \`preloadedImagesVerificationAllowlist\` if ${needed}`);
  }
  if ((c['containerRuntimeEndpoint'] ?? '') === '') {
    mistakes.push('the containerRuntimeEndpoint was not specified or empty');
  }
  if (c['runOnce'] === true) {
    mistakes.push('runOnce (--runOnce) true, Runonce mode has been deprecated and should not be set');
  }
  return mistakes;
}

/** Every mistake, each as one sentence that begins with "invalid configuration" or the path of a nested field. */
export function validateConfiguration(c: Fields): string[] {
  return [
    ...validateNumbers(c),
    ...validatePulls(c),
    ...validateTimes(c),
    ...validateChoices(c),
    ...validateEnforcement(c),
    ...validateReservations(c),
    ...validateLogs(c),
    ...validateGates(c),
    ...validateReservedMemory(c),
    ...validateRest(c),
  ]
    .map((mistake) => `invalid configuration: ${mistake}`)
    .concat(validateLogging(c), validateTracing(c));
}

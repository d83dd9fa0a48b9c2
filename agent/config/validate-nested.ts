// What the nested fields of a configuration may hold: logging, tracing, memory of NUMA nodes, user namespaces, patterns
// of images (pkg/kubelet/apis/config/validation, component-base/logs/api, component-base/tracing/api). Pure.

import { parseQuantity, QuantityError } from '#kube/api/quantity.ts';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';
import { kubernetesVersion } from '#kube/process/version.ts';
import { createVerificationPolicy } from '../image/records/verification-policy.ts';
import { type Fields, isRecord } from './merge-layers.ts';

const idsUnit = 65_536;

function records(value: unknown): Fields[] {
  return Array.isArray(value) ? value.filter(isRecord) : [];
}

function invalid(path: string, value: unknown, why: string): string {
  return `${path}: Invalid value: ${JSON.stringify(value)}: ${why}`;
}

/** Mistakes in `logging`. */
export function validateLogging({ logging }: Fields): string[] {
  if (!isRecord(logging)) return [];
  const mistakes: string[] = [];
  const { format = 'text', verbosity = 0, flushFrequency = 0, vmodule } = logging;
  if (format !== 'text' && format !== 'json') {
    mistakes.push(invalid('logging.format', format, 'Unsupported log format'));
  }
  if (typeof verbosity === 'number' && (verbosity < 0 || verbosity > 2 ** 31 - 1)) {
    mistakes.push(invalid('logging.verbosity', verbosity, `Must be <= ${2 ** 31 - 1}`));
  }
  // A number is meant in nanoseconds.
  const flushMs = typeof flushFrequency === 'string' ? durationOf(flushFrequency) : Number(flushFrequency);
  if (!(flushMs >= 0)) mistakes.push(invalid('logging.flushFrequency', flushFrequency, 'is no duration'));
  if (format !== 'text' && Array.isArray(vmodule) && vmodule.length > 0) {
    mistakes.push('logging.vmodule: Forbidden: Only supported for text log format');
  }
  for (const [index, { filePattern = '' }] of records(vmodule).entries()) {
    const path = `logging.vmodule[${index}]`;
    if (filePattern === '') mistakes.push(`${path}: Required value: File pattern must not be empty`);
    else if (/[=,]/.test(String(filePattern))) {
      mistakes.push(invalid(path, filePattern, 'File pattern must not contain equal sign or comma'));
    }
  }
  return mistakes;
}

function durationOf(text: string): number {
  try {
    return parseDurationMs(text);
  } catch (error) {
    if (error instanceof UsageError) return Number.NaN;
    throw error;
  }
}

/** Mistakes in `tracing`. */
export function validateTracing({ tracing }: Fields): string[] {
  if (!isRecord(tracing)) return [];
  const mistakes: string[] = [];
  const { samplingRatePerMillion: rate, endpoint } = tracing;
  const ratePath = 'tracing.samplingRatePerMillion';
  if (typeof rate === 'number' && rate < 0) mistakes.push(invalid(ratePath, rate, 'sampling rate must be positive'));
  if (typeof rate === 'number' && rate > 1_000_000) {
    mistakes.push(invalid(ratePath, rate, 'sampling rate per million must be less than or equal to one million'));
  }
  const scheme = typeof endpoint === 'string' && endpoint.includes('//') ? (endpoint.split(':')[0] ?? '') : 'dns';
  if (!['dns', 'unix', 'unix-abstract'].includes(scheme)) {
    const options = 'Options are none, dns, unix, or unix-abstract';
    mistakes.push(invalid('tracing.endpoint', endpoint, `unsupported scheme: ${scheme}.  ${options}`));
  }
  return mistakes;
}

function isZero(text: unknown): boolean {
  return parseQuantity(String(text)).nano === 0n;
}

/** Mistakes in `reservedMemory`; whether it adds up depends on the machine. */
export function validateReservedMemory({ reservedMemory }: Fields): string[] {
  const mistakes: string[] = [];
  const seen = new Set<string>();
  for (const { numaNode = 0, limits } of records(reservedMemory)) {
    for (const [resource, amount] of Object.entries(isRecord(limits) ? limits : {})) {
      const key = `${String(numaNode)}/${resource}`;
      const what = `for NUMA node ${String(numaNode)} and resource ${JSON.stringify(resource)}`;
      if (resource !== 'memory' && !resource.startsWith('hugepages-')) {
        const name = JSON.stringify(resource);
        mistakes.push(
          `the limit type ${name} for NUMA node ${String(numaNode)} is not supported, only [memory hugepages-<HugePageSize>] is accepted`,
        );
      }
      try {
        if (isZero(amount)) mistakes.push(`reserved memory may not be zero ${what}`);
      } catch (error) {
        if (!(error instanceof QuantityError)) throw error;
        mistakes.push(`reserved memory ${what}: ${error.message}`);
      }
      if (seen.has(key)) mistakes.push(`the reserved memory has a duplicate value ${what}`);
      seen.add(key);
    }
  }
  return mistakes;
}

/** Mistakes in fields that few set. */
export function validateRest(c: Fields): string[] {
  const mistakes: string[] = [];
  const ids = isRecord(c['userNamespaces']) ? c['userNamespaces']['idsPerPod'] : undefined;
  if (typeof ids === 'number' && (ids <= 0 || ids % idsUnit !== 0)) {
    mistakes.push(invalid('userNamespaces.idsPerPod', ids, `must be a multiple of ${idsUnit}`));
  }
  const shown = c['showHiddenMetricsForVersion'] ?? '';
  const [, major = '', minor = ''] = /^v(\d+)\.(\d+)/.exec(kubernetesVersion) ?? [];
  const previous = `${major}.${Number(minor) - 1}`;
  if (shown !== '' && shown !== previous) {
    mistakes.push(
      `--show-hidden-metrics-for-version must be omitted or have the value '${previous}'. Only the previous minor version is allowed`,
    );
  }
  const policy = String(c['imagePullCredentialsVerificationPolicy'] ?? '');
  const patterns = c['preloadedImagesVerificationAllowlist'];
  if (policy === 'NeverVerifyAllowlistedImages' && Array.isArray(patterns)) {
    try {
      createVerificationPolicy(policy, patterns.map(String));
    } catch (error) {
      if (!(error instanceof UsageError)) throw error;
      mistakes.push(`invalid image pattern in \`preloadedImagesVerificationAllowlist\`: ${error.message}`);
    }
  }
  return mistakes;
}

/** Fields that need a feature which is on, unless somebody switched it off. */
const gated: [gate: string, isSet: (c: Fields) => boolean, message: string][] = [
  [
    'RotateKubeletServerCertificate',
    (c) => c['serverTLSBootstrap'] === true,
    'serverTLSBootstrap true requires feature gate RotateKubeletServerCertificate',
  ],
  [
    'GracefulNodeShutdown',
    (c) =>
      [c['shutdownGracePeriod'], c['shutdownGracePeriodCriticalPods']].some(
        (text) => durationOf(String(text ?? '0s')) > 0,
      ),
    'specifying shutdownGracePeriod or shutdownGracePeriodCriticalPods requires feature gate GracefulNodeShutdown',
  ],
  [
    'GracefulNodeShutdownBasedOnPodPriority',
    (c) => Array.isArray(c['shutdownGracePeriodByPodPriority']) && c['shutdownGracePeriodByPodPriority'].length > 0,
    'Specifying shutdownGracePeriodByPodPriority requires feature gate GracefulNodeShutdownBasedOnPodPriority',
  ],
];

/** Mistakes of fields without their feature. */
export function validateGates(c: Fields): string[] {
  const gates = isRecord(c['featureGates']) ? c['featureGates'] : {};
  return gated.flatMap(([gate, isSet, message]) => (String(gates[gate]) === 'false' && isSet(c) ? [message] : []));
}

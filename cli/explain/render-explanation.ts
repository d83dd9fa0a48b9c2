// An explanation as people read it. Pure.
import { parseTime } from '#kube/api/time.ts';
import type { EvictionRecord } from '../../agent/eviction/eviction-records.ts';
import type { Explanation } from '../../agent/explain/explanation.ts';

function duration(seconds: number): string {
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 120 ? `${minutes}m${seconds % 60}s` : `${Math.floor(minutes / 60)}h${minutes % 60}m`;
}

function mebibytes(bytes: number): string {
  return `${(bytes / 1024 ** 2).toFixed(1)} MiB`;
}

/** Pods of the ranking that are shown. */
const shownPods = 5;

function amount(resource: string, value: number): string {
  return resource === 'memory' || resource === 'ephemeral-storage' ? mebibytes(value) : `${value} ${resource}`;
}

/** What the node was short of, and how it chose. */
function evictionLines(eviction: EvictionRecord): [string, string][] {
  const { at, signal, resource, observed, threshold, reclaimed, ranking, rankedPods } = eviction;
  const freed = reclaimed.length === 0 ? '' : `, after freeing unused ${reclaimed.join(' and ')}`;
  const lines: [string, string][] = [
    ['evicted', `at ${at}${freed}`],
    ['signal', `${signal}: ${amount(resource, observed.available)} left of ${amount(resource, observed.capacity)}`],
    ['threshold', `${threshold.quantity} (${threshold.kind}), passed for ${duration(eviction.lastedSeconds)}`],
  ];
  ranking.slice(0, shownPods).forEach(({ namespace, name, usage, request, priority, critical, uid }, index) => {
    const used = usage === undefined ? 'unknown use' : `uses ${amount(resource, usage)}`;
    const what = uid === eviction.uid ? ', chosen' : critical ? ', spared as critical' : '';
    const text = `${namespace}/${name}: ${used}, asked for ${amount(resource, request)}, priority ${priority}${what}`;
    lines.push([index === 0 ? 'ranking' : '', text]);
  });
  if (rankedPods > shownPods) lines.push(['', `and ${rankedPods - shownPods} more`]);
  return lines;
}

/** Lines of text; the node's name is empty before the pod has one. */
export function renderExplanation(explanation: Explanation, nodeName: string, nowMs: number): string {
  const { namespace, name, phase, step, container, message, ageSeconds, attempts, lastError, nextRetry, bytes } =
    explanation;
  const place = nodeName === '' ? 'has no node yet' : `on node ${nodeName}`;
  const lines: [string, string][] = [];
  if (step === 'none') lines.push(['blocked by', `nothing: ${message}`]);
  else {
    lines.push(['blocked by', container === undefined ? step : `${step}, of container ${container}`]);
    lines.push(['', message]);
  }
  if (ageSeconds !== undefined) lines.push(['for', duration(ageSeconds)]);
  if (attempts !== undefined && attempts > 1) lines.push(['attempts', String(attempts)]);
  if (lastError !== undefined && !message.includes(lastError)) lines.push(['last error', lastError]);
  const retryMs = parseTime(nextRetry);
  if (retryMs !== undefined) {
    const seconds = Math.ceil((retryMs - nowMs) / 1000);
    lines.push(['next retry', seconds > 0 ? `in ${duration(seconds)}` : 'now']);
  }
  if (bytes !== undefined) {
    const total = bytes.total === undefined ? '' : ` of ${mebibytes(bytes.total)}`;
    lines.push(['pulled', `${mebibytes(bytes.done)}${total}`]);
  }
  if (explanation.eviction !== undefined) lines.push(...evictionLines(explanation.eviction));
  const width = 12;
  const text = lines.map(([label, value]) => `${label.padEnd(width)}${value}\n`).join('');
  return `pod ${namespace}/${name}, ${phase}, ${place}\n${text}`;
}

// Groups of collectors: each can be switched off, and tells what it costs. The sample that several groups share has a
// price of its own and is always there.
import { createMetricText, labelText, type MetricText } from './metric-text.ts';

/** Groups that can be switched. */
export const switchedGroups = [
  'cpu',
  'memory',
  'network',
  'process',
  'lifetime',
  'machine',
  'ephemeral_storage',
  'resource',
  'probes',
] as const;

export type MetricGroup = (typeof switchedGroups)[number];

/** What a group cost: size of what was collected last, processor time since the start. */
export interface GroupPrice {
  group: MetricGroup | 'sample';
  enabled: boolean;
  series: number;
  bytes: number;
  cpuSeconds: number;
  collections: number;
}

export interface MetricGroups {
  isOn(group: MetricGroup): boolean;
  /** False where there is no such group. */
  set(group: string, enabled: boolean): boolean;
  /** Resolves when switches are where they outlive the agent. */
  saved(): Promise<void>;
  /** Runs what reads for a group, without waiting in between, and counts its processor time. */
  spend<T>(group: MetricGroup | 'sample', work: () => T): T;
  /** The text of a group, empty when it is off. */
  render(group: MetricGroup, write: (text: MetricText) => void): string;
  /** A text that was made elsewhere belongs to the group. */
  rendered(group: MetricGroup, text: string): string;
  prices(): GroupPrice[];
  /** The prices as metrics. */
  text(): string;
}

const microsecondsPerSecond = 1e6;

/** Processor time of this thread in seconds. */
function cpuSeconds(): number {
  const { user, system } = process.threadCpuUsage();
  return (user + system) / microsecondsPerSecond;
}

function countSeries(text: string): number {
  let count = 0;
  for (const line of text.split('\n')) if (line !== '' && !line.startsWith('#')) count += 1;
  return count;
}

/** All groups are on at first. */
export function createMetricGroups(): MetricGroups {
  const prices = new Map<string, GroupPrice>(
    [...switchedGroups, 'sample' as const].map((group) => [
      group,
      { group, enabled: true, series: 0, bytes: 0, cpuSeconds: 0, collections: 0 },
    ]),
  );

  function priceOf(group: MetricGroup | 'sample'): GroupPrice {
    const price = prices.get(group);
    if (price === undefined) throw new Error(`there is no group of metrics ${group}`);
    return price;
  }

  function spend<T>(group: MetricGroup | 'sample', work: () => T): T {
    const before = cpuSeconds();
    try {
      return work();
    } finally {
      priceOf(group).cpuSeconds += cpuSeconds() - before;
    }
  }

  function note(group: MetricGroup, text: string, series: number): string {
    const price = priceOf(group);
    price.series = series;
    price.bytes = Buffer.byteLength(text);
    price.collections += 1;
    return text;
  }

  const isOn = (group: MetricGroup) => priceOf(group).enabled;
  return {
    isOn,
    set(group, enabled) {
      const price = prices.get(group);
      if (price === undefined || price.group === 'sample') return false;
      price.enabled = enabled;
      if (!enabled) Object.assign(price, { series: 0, bytes: 0 });
      return true;
    },
    saved: async () => undefined,
    spend,
    render(group, write) {
      if (!isOn(group)) return '';
      return spend(group, () => {
        const collected = createMetricText();
        write(collected);
        return note(group, collected.toString(), collected.series);
      });
    },
    rendered: (group, text) => spend(group, () => note(group, text, countSeries(text))),
    prices: () => [...prices.values()].map((price) => ({ ...price })),
    text() {
      const text = createMetricText();
      const families: [string, 'counter' | 'gauge', string, (price: GroupPrice) => number][] = [
        ['enabled', 'gauge', 'Whether a group of collectors is on.', ({ enabled }) => Number(enabled)],
        ['series', 'gauge', 'Series of a group when it was last collected.', ({ series }) => series],
        ['bytes', 'gauge', 'Bytes of the text of a group when it was last collected.', ({ bytes }) => bytes],
        [
          'cpu_seconds_total',
          'counter',
          'Processor time that collecting and writing a group has cost.',
          (price) => price.cpuSeconds,
        ],
        ['collections_total', 'counter', 'How often a group was collected.', ({ collections }) => collections],
      ];
      for (const [name, type, help, value] of families) {
        text.family(`berth_metric_group_${name}`, type, help);
        for (const price of prices.values()) text.add(labelText({ group: price.group }), value(price));
      }
      return text.toString();
    },
  };
}

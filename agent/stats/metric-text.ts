// Prometheus text written directly: the label sets of thousands of series are built once per cgroup, not per metric.

/** The labels of one series, already in text form: `a="1",b="2"`, or empty. */
export type LabelText = string;

/** Escapes and joins labels. */
export function labelText(labels: Record<string, string>): LabelText {
  return Object.entries(labels)
    .map(
      ([name, value]) =>
        `${name}="${value.replace(/[\\"\n]/g, (character) => (character === '\n' ? '\\n' : `\\${character}`))}"`,
    )
    .join(',');
}

/** Collects families of metrics. */
export interface MetricText {
  family(name: string, type: 'counter' | 'gauge', help: string): void;
  /** One series of the family begun last. `atMs` is written as timestamp where given. */
  add(labels: LabelText, value: number, atMs?: number): void;
  /** How many series there are so far. */
  readonly series: number;
  toString(): string;
}

/** Starts an empty text. */
export function createMetricText(): MetricText {
  const lines: string[] = [];
  let current = '';
  let series = 0;
  return {
    get series() {
      return series;
    },
    family(name, type, help) {
      current = name;
      lines.push(`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`);
    },
    add(labels, value, atMs) {
      const name = labels === '' ? current : `${current}{${labels}}`;
      lines.push(atMs === undefined ? `${name} ${value}` : `${name} ${value} ${Math.round(atMs)}`);
      series += 1;
    },
    toString: () => `${lines.join('\n')}\n`,
  };
}

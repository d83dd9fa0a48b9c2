// Command-line flags in the form Kubernetes' components take them: --name=value, --name value, --bool, --bool=false.
import { parseArgs } from 'node:util';

/** One flag of a component. Repeated `list` flags and comma-separated values add up; `map` takes k=v pairs. */
export interface FlagDefinition {
  name: string;
  type: 'string' | 'int' | 'boolean' | 'duration' | 'list' | 'map';
  description: string;
  /** Accepted and warned about with this text. */
  deprecated?: string;
}

export type FlagValue = string | number | boolean | string[] | Record<string, string>;

/** What the user typed is wrong: the message is one line that says what and what is allowed. */
export class UsageError extends Error {
  readonly code = 'USAGE';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'UsageError';
  }
}

const durationUnitMs: Record<string, number> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  ms: 1,
  s: 1000,
  m: 60_000,
  h: 3_600_000,
};

/** Parses a Go duration such as `1h30m`, `0s` or `250ms` to milliseconds. Throws UsageError. */
export function parseDurationMs(text: string): number {
  if (text === '0') return 0;
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)/g)];
  if (parts.length === 0 || parts.map((part) => part[0]).join('') !== text.replace(/^-/, '')) {
    throw new UsageError(`"${text}" is not a duration such as 10s, 5m or 1h30m`);
  }
  const total = parts.reduce((sum, part) => sum + Number(part[1]) * (durationUnitMs[part[2] ?? ''] ?? 0), 0);
  return text.startsWith('-') ? -total : total;
}

function decode(flag: FlagDefinition, values: string[]): FlagValue {
  const last = values.at(-1) ?? '';
  switch (flag.type) {
    case 'string':
      return last;
    case 'int': {
      if (!/^-?\d+$/.test(last)) throw new UsageError(`--${flag.name} takes a whole number, not "${last}"`);
      return Number(last);
    }
    case 'boolean':
      if (last !== 'true' && last !== 'false')
        throw new UsageError(`--${flag.name} takes true or false, not "${last}"`);
      return last === 'true';
    case 'duration':
      return parseDurationMs(last);
    case 'list':
      return values.flatMap((value) => value.split(',')).filter((value) => value !== '');
    case 'map': {
      const pairs = values.flatMap((value) => value.split(',')).filter((value) => value !== '');
      return Object.fromEntries(
        pairs.map((pair) => {
          const at = pair.indexOf('=');
          if (at < 1) throw new UsageError(`--${flag.name} takes key=value pairs, not "${pair}"`);
          return [pair.slice(0, at), pair.slice(at + 1)];
        }),
      );
    }
    default:
      return flag.type satisfies never;
  }
}

function nearest(name: string, names: string[]): string {
  const close = names.filter((other) => other.includes(name) || name.includes(other));
  return close.length > 0 ? `; did you mean --${close[0]}?` : '';
}

/**
 * Decodes `argv`. Flags not given are absent from `values`; durations are milliseconds.
 * Throws UsageError for an unknown flag, a bad value or a stray argument.
 */
export function parseFlags(
  component: string,
  flags: readonly FlagDefinition[],
  argv: readonly string[],
): { values: Record<string, FlagValue>; warnings: string[] } {
  const byName = new Map(flags.map((flag) => [flag.name, flag]));
  const args = argv.map((arg) => {
    const flag = byName.get(arg.replace(/^--?/, ''));
    return arg.startsWith('-') && flag?.type === 'boolean'
      ? `--${flag.name}=true`
      : arg.replace(/^-(?=[a-z]{2})/, '--');
  });
  const options = Object.fromEntries(flags.map((flag) => [flag.name, { type: 'string' as const, multiple: true }]));
  const { tokens } = parseArgs({ args, options, strict: false, tokens: true, allowPositionals: true });
  const given = new Map<FlagDefinition, string[]>();
  for (const token of tokens) {
    if (token.kind === 'option-terminator') continue;
    if (token.kind === 'positional') throw new UsageError(`${component} takes no argument "${token.value}"`);
    const flag = byName.get(token.name);
    if (flag === undefined) {
      throw new UsageError(
        `unknown flag --${token.name} for ${component}${nearest(token.name, [...byName.keys()])} (see berth ${component} --help)`,
      );
    }
    if (token.value === undefined) throw new UsageError(`--${token.name} needs a value`);
    given.set(flag, [...(given.get(flag) ?? []), token.value]);
  }
  const values: Record<string, FlagValue> = {};
  const warnings: string[] = [];
  for (const [flag, texts] of given) {
    values[flag.name] = decode(flag, texts);
    if (flag.deprecated !== undefined) warnings.push(`flag --${flag.name} is deprecated: ${flag.deprecated}`);
  }
  return { values, warnings };
}

/** The text of `--help`. */
export function describeFlags(component: string, flags: readonly FlagDefinition[]): string {
  const rows = flags.map(
    (flag) => `  --${flag.name} ${flag.type === 'boolean' ? '' : flag.type}`.padEnd(47) + flag.description,
  );
  return `usage: berth ${component} [flags]\n\n${rows.join('\n')}\n`;
}

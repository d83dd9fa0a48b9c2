// What every bench shares: quantiles, bounded parallelism, process facts, and the rows they print.
import { readFileSync } from 'node:fs';

/** One line of the result: a figure beside the floor measured in the same run, and the budget of the design. */
export interface Row {
  work: string;
  unit: string;
  berth: number;
  /** The least the same machine needs for it; undefined where there is nothing to compare with. */
  floor?: number | undefined;
  /** What design.md asks for, in words. */
  budget: string;
}

export function quantile(values: readonly number[], q: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))] ?? Number.NaN;
}

export const median = (values: readonly number[]): number => quantile(values, 0.5);

/** Runs `count` jobs, `inFlight` at a time. Returns the seconds it took. */
export async function timed(count: number, inFlight: number, job: (index: number) => Promise<void>): Promise<number> {
  let next = 0;
  const started = performance.now();
  const worker = async (): Promise<void> => {
    while (next < count) {
      const index = next;
      next += 1;
      await job(index);
    }
  };
  await Promise.all(Array.from({ length: Math.min(inFlight, count) }, worker));
  return (performance.now() - started) / 1000;
}

/** Resident memory of a process in megabytes. */
export function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8');
  return Number(/^VmRSS:\s+(\d+)/m.exec(status)?.[1] ?? 0) / 1024;
}

/** Memory of a process in megabytes, what it shares with others divided among them: these can be added up. */
export function proportionalMb(pid: number): number {
  const rollup = readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8');
  return Number(/^Pss:\s+(\d+)/m.exec(rollup)?.[1] ?? 0) / 1024;
}

/** Processor seconds a process has used. */
export function cpuSeconds(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  const ticksPerSecond = 100;
  return (Number(fields[11]) + Number(fields[12])) / ticksPerSecond;
}

function number(value: number): string {
  if (Math.abs(value) >= 100) return value.toFixed(0);
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}

/** Prints rows as a table that reads well in a terminal and pastes into Markdown. */
export function printRows(rows: readonly Row[], write: (line: string) => void): void {
  const cells = rows.map((row) => [
    row.work,
    `${number(row.berth)} ${row.unit}`,
    row.floor === undefined ? '-' : `${number(row.floor)} ${row.unit}`,
    row.floor === undefined ? '-' : number(row.berth / row.floor),
    row.budget,
  ]);
  const header = ['work', 'berth', 'floor', 'ratio', 'budget'];
  const widths = header.map((title, i) => Math.max(title.length, ...cells.map((line) => (line[i] ?? '').length)));
  const line = (texts: readonly string[]) => `| ${texts.map((text, i) => text.padEnd(widths[i] ?? 0)).join(' | ')} |`;
  write(line(header));
  write(line(widths.map((width) => '-'.repeat(width))));
  for (const texts of cells) write(line(texts));
}

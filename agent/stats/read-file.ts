// Reading the small files of the kernel. Synchronous: each takes microseconds, far less than a trip through the
// thread pool; whoever reads many of them yields in between.
import { readFileSync } from 'node:fs';

/** The text of a file, empty when it is not there or cannot be read any more. */
export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    // Containers and processes end while they are being looked at.
    return '';
  }
}

/** The number in a file; 0 for `max` and for absent files. */
export function readNumber(path: string): number {
  const value = Number(readText(path).trim());
  return Number.isFinite(value) ? value : 0;
}

/** Lines of `key value` pairs. */
export function parsePairs(text: string): Map<string, number> {
  const pairs = new Map<string, number>();
  for (const line of text.split('\n')) {
    const space = line.indexOf(' ');
    if (space > 0) pairs.set(line.slice(0, space), Number(line.slice(space + 1)));
  }
  return pairs;
}

/** Numbers, one a line. */
export function readNumbers(path: string): number[] {
  return readText(path)
    .split('\n')
    .filter((line) => line !== '')
    .map(Number);
}

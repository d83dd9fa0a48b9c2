// A reporter of tests that writes one line of JSON for each test, for a program to read.
import type { TestEvent } from 'node:test/reporters';

export interface LineResult {
  name: string;
  durationMs: number;
  skipped: boolean;
  error?: string;
}

/** Suites are left out: their tests tell. */
export default async function* reportLines(source: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  for await (const event of source) {
    if (event.type !== 'test:pass' && event.type !== 'test:fail') continue;
    const { name, details, skip } = event.data;
    if (details.type === 'suite') continue;
    const result: LineResult = { name, durationMs: details.duration_ms, skipped: skip !== undefined && skip !== false };
    if (event.type === 'test:fail') {
      const { cause } = event.data.details.error;
      result.error = cause instanceof Error ? (cause.stack ?? cause.message) : String(cause);
    }
    yield `${JSON.stringify(result)}\n`;
  }
}

// A file of tests that needs a kernel of its own: run by the machine it runs itself again inside, and tells the results
// one by one as if they were its own.
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { it } from 'node:test';
import type { LineResult } from './line-reporter.ts';
import { isInsideUml, runInUml, umlUnavailable } from './uml-script.ts';

/** Inside it defines the tests; outside one test that runs the file inside. */
export function describeInUml(title: string, file: string, timeoutMs: number, define: () => void): void {
  if (isInsideUml()) {
    define();
    return;
  }
  it(title, { skip: umlUnavailable() ?? false, timeout: timeoutMs + 30_000 }, async (context) => {
    const directory = mkdtempSync(join(tmpdir(), 'berth-uml-tests-'));
    try {
      const results = join(directory, 'results');
      const reporter = join(import.meta.dirname, 'line-reporter.ts');
      const args = [`--test-reporter=${reporter}`, `--test-reporter-destination=${results}`, file];
      const { exitCode, output } = await runInUml([process.execPath, ...args], { timeoutMs, writable: directory });
      const lines = readFileSync(results, 'utf8').trim().split('\n');
      const told = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as LineResult);
      for (const { name, durationMs, error, skipped } of told) {
        context.diagnostic(`${Math.round(durationMs)} ms: ${name}`);
        await context.test(name, { skip: skipped }, () => {
          if (error !== undefined) throw new Error(error);
        });
      }
      if (exitCode !== 0 && told.every(({ error }) => error === undefined)) {
        throw new Error(`the tests inside ended with ${exitCode ?? 'nothing, for they took too long'}:\n${output}`);
      }
    } finally {
      rmSync(directory, { recursive: true, force: true });
    }
  });
}

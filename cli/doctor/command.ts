// `berth doctor`: what keeps this machine from being a node, and what puts it right.
import { hostname } from 'node:os';
import { systemClock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { computeLayout } from '../up/layout.ts';
import { gatherFacts } from './gather-facts.ts';
import { type Finding, judgeFacts } from './judge-facts.ts';
import { findNodePlaces, type NodePlaces } from './node-places.ts';

/** What is absent is found where this machine's node has it. */
export interface DoctorCommandOptions extends Partial<NodePlaces> {
  criSocket?: string;
  output?: string;
  /** Of `berth up`, whose node is looked at where no other is set up. */
  instance: string;
}

const marks = { ok: 'ok     ', warning: 'warning', error: 'ERROR  ' };

/** Findings for people: a line each, and the fix below. */
export function renderFindings(findings: readonly Finding[]): string {
  return findings
    .map(({ check, level, message, fix }) => {
      const line = `${marks[level]} ${check.padEnd(12)} ${message}`;
      return fix === undefined ? line : `${line}\n${' '.repeat(21)}fix: ${fix}`;
    })
    .join('\n');
}

/** Runs `berth doctor`. Returns the exit code: 1 when something stops pods. */
export async function runDoctor({ output, instance, ...options }: DoctorCommandOptions): Promise<number> {
  if (output !== undefined && output !== 'json') throw new UsageError(`unknown output "${output}": json`);
  const places = findNodePlaces(computeLayout({ instance, hostname: hostname().trim().toLowerCase(), nodeCount: 1 }));
  const findings = judgeFacts(await gatherFacts({ ...places, ...options, clock: systemClock }));
  const text = output === 'json' ? JSON.stringify({ findings }, undefined, 2) : renderFindings(findings);
  process.stdout.write(`${text}\n`);
  return findings.some(({ level }) => level === 'error') ? 1 : 0;
}

// Whether the state of an earlier run fits the machine and the configuration of this one
// (pkg/kubelet/cm/cpumanager/policy_static.go: validateState). Pure.
import { UsageError } from '#kube/process/flags.ts';
import { formatCpuSet } from './cpu-set.ts';
import type { CpuState } from './cpu-state.ts';

/** What the state is held against. */
export interface CpuStateFacts {
  policy: string;
  all: ReadonlySet<number>;
  reserved: ReadonlySet<number>;
  /** strict-cpu-reservation. */
  strict: boolean;
}

const quoted = (cpus: Iterable<number>) => JSON.stringify(formatCpuSet(cpus));

/** Why the state cannot be gone on with; undefined where it can. */
function problemOf(state: CpuState, { policy, all, reserved, strict }: CpuStateFacts): string | undefined {
  if (state.policy !== policy) {
    return `configured policy ${JSON.stringify(policy)} differs from state checkpoint policy ${JSON.stringify(state.policy)}`;
  }
  if (policy !== 'static') return undefined;
  const { shared, entries } = state;
  if (shared.size === 0) return entries.size === 0 ? undefined : 'default cpuset cannot be empty';
  const common = [...reserved].filter((cpu) => shared.has(cpu));
  if (strict && common.length > 0) {
    return `some of strictly reserved cpus: ${quoted(common)} are present in defaultCpuSet: ${quoted(shared)}`;
  }
  if (!strict && common.length < reserved.size) {
    return `not all reserved cpus: ${quoted(reserved)} are present in defaultCpuSet: ${quoted(shared)}`;
  }
  const known = new Set(strict ? [...shared, ...reserved] : shared);
  for (const [uid, containers] of entries) {
    for (const [name, cpus] of containers) {
      if ([...cpus].some((cpu) => shared.has(cpu))) {
        return `pod: ${uid}, container: ${name} cpuset: ${quoted(cpus)} overlaps with default cpuset ${quoted(shared)}`;
      }
      for (const cpu of cpus) known.add(cpu);
    }
  }
  if (known.size === all.size && [...known].every((cpu) => all.has(cpu))) return undefined;
  return `current set of available CPUs ${quoted(all)} doesn't match with CPUs in state ${quoted(known)}`;
}

/** Throws UsageError that says what to do. */
export function checkCpuState(state: CpuState, path: string, facts: CpuStateFacts): void {
  const problem = problemOf(state, facts);
  if (problem === undefined) return;
  throw stateError(problem, path);
}

/** The refusal to start over the file. */
export function stateError(problem: string, path: string, cause?: unknown): UsageError {
  return new UsageError(
    `could not restore state from checkpoint: ${problem}, please drain this node and delete the CPU manager checkpoint file ${JSON.stringify(path)} before restarting Kubelet`,
    { cause },
  );
}

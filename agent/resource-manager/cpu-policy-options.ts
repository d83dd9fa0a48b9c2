// cpuManagerPolicyOptions: which options there are, which features they need and which exclude each other
// (pkg/kubelet/cm/cpumanager/policy_options.go). Pure.
import { UsageError } from '#kube/process/flags.ts';
import type { CpuTopology } from './cpu-topology.ts';

/** The options of policy static. */
export interface CpuPolicyOptions {
  wholeCores: boolean;
  acrossNodes: boolean;
  alignBySocket: boolean;
  acrossCores: boolean;
  strictReservation: boolean;
  alignUncore: boolean;
}

const options = {
  'full-pcpus-only': { field: 'wholeCores', level: 'stable' },
  'strict-cpu-reservation': { field: 'strictReservation', level: 'stable' },
  'distribute-cpus-across-numa': { field: 'acrossNodes', level: 'Beta' },
  'prefer-align-cpus-by-uncorecache': { field: 'alignUncore', level: 'Beta' },
  'align-by-socket': { field: 'alignBySocket', level: 'Alpha' },
  'distribute-cpus-across-cores': { field: 'acrossCores', level: 'Alpha' },
} as const satisfies Record<string, { field: keyof CpuPolicyOptions; level: string }>;

const exclusive: [string, string][] = [
  ['full-pcpus-only', 'distribute-cpus-across-cores'],
  ['distribute-cpus-across-numa', 'distribute-cpus-across-cores'],
  ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-cores'],
  ['prefer-align-cpus-by-uncorecache', 'distribute-cpus-across-numa'],
];

const truths = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const lies = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

function isOption(name: string): name is keyof typeof options {
  return name in options;
}

/** Reads the options of policy static. Throws UsageError. */
function parseStatic(given: Readonly<Record<string, string>>, gates: Readonly<Record<string, string>>) {
  const parsed: CpuPolicyOptions = {
    ...{ wholeCores: false, acrossNodes: false, alignBySocket: false },
    ...{ acrossCores: false, strictReservation: false, alignUncore: false },
  };
  const fail = (text: string) => new UsageError(`new static policy error: ${text}`);
  for (const [name, value] of Object.entries(given).sort(([a], [b]) => (a < b ? -1 : 1))) {
    if (!isOption(name)) throw fail(`unknown CPU Manager Policy option: ${JSON.stringify(name)}`);
    const { field, level } = options[name];
    const gate = gates[`CPUManagerPolicy${level}Options`] ?? (level === 'Alpha' ? 'false' : 'true');
    if (level !== 'stable' && gate !== 'true') {
      throw fail(`CPU Manager Policy ${level}-level Options not enabled, but option ${JSON.stringify(name)} provided`);
    }
    if (!truths.includes(value) && !lies.includes(value)) {
      const cause = `strconv.ParseBool: parsing ${JSON.stringify(value)}: invalid syntax`;
      throw fail(`bad value for option ${JSON.stringify(name)}: ${cause}`);
    }
    parsed[field] = truths.includes(value);
  }
  const isOn = (name: string) => isOption(name) && parsed[options[name].field];
  for (const [a, b] of exclusive) {
    if (isOn(a) && isOn(b)) throw fail(`static policy options ${a} and ${b} can not be used at the same time`);
  }
  return parsed;
}

/** Reads and checks the options. Throws UsageError in kubelet's words. */
export function parseCpuPolicyOptions(
  policy: 'none' | 'static',
  given: Readonly<Record<string, string>>,
  gates: Readonly<Record<string, string>>,
): CpuPolicyOptions {
  if (policy === 'static') return parseStatic(given, gates);
  const list = Object.entries(given).map(([name, value]) => `${name}:${value}`);
  if (list.length > 0) {
    throw new UsageError(
      `new none policy error: None policy: received unsupported options=map[${list.sort().join(' ')}]`,
    );
  }
  return parseStatic({}, gates);
}

/** Options that the machine or the topology manager does not go with. Throws UsageError. */
export function checkCpuPolicyOptions(
  { alignBySocket }: CpuPolicyOptions,
  { cpus }: CpuTopology,
  topologyPolicy: string,
): void {
  if (!alignBySocket) return;
  if (topologyPolicy === 'single-numa-node') {
    throw new UsageError(
      'Topolgy manager single-numa-node policy is incompatible with CPUManager align-by-socket policy option',
    );
  }
  if (new Set(cpus.map(({ socket }) => socket)).size > new Set(cpus.map(({ node }) => node)).size) {
    throw new UsageError(
      'Align by socket is not compatible with hardware where number of sockets are more than number of NUMA',
    );
  }
}

// The steps that undo an installation, in their order: services, pods, rules, groups, mounts, then files, the last
// made first. Pure.
import type { LedgerEntry } from './ledger.ts';

export type UninstallStep =
  | { do: 'stop-unit'; name: string }
  | { do: 'remove-pods' }
  | { do: 'remove-rules' }
  | { do: 'remove-cgroups' }
  | { do: 'unmount'; below: string[]; except: string[] }
  | { do: 'remove-link'; name: string }
  | { do: 'remove-tree'; path: string }
  | { do: 'remove-file'; path: string }
  | { do: 'remove-directory'; path: string }
  | { do: 'restore-file'; path: string; content: string; mode: number }
  | { do: 'restore-setting'; name: string; value: string }
  | { do: 'reload-systemd' };

/** Where agents mount volumes, whoever made the directory. */
const mountRoots = ['/var/lib/kubelet'];

function fileStep(entry: LedgerEntry): UninstallStep | undefined {
  switch (entry.kind) {
    case 'file':
      return { do: 'remove-file', path: entry.path };
    case 'replaced':
      return { do: 'restore-file', path: entry.path, content: entry.content, mode: entry.mode };
    case 'directory':
      return { do: 'remove-directory', path: entry.path };
    case 'tree':
      return { do: 'remove-tree', path: entry.path };
    case 'unit':
    case 'sysctl':
    case 'link':
    case 'mount':
      return undefined;
    default:
      return entry satisfies never;
  }
}

/** Plans all steps. */
export function planUninstall(entries: readonly LedgerEntry[], root: string): UninstallStep[] {
  const units = entries.flatMap((entry) => (entry.kind === 'unit' ? [entry.name] : []));
  const isAgent = (name: string) => /^(berth-agent|kubelet)\./.test(name);
  const stop = (names: string[]) => names.map((name) => ({ do: 'stop-unit' as const, name }));
  const trees = entries.flatMap((entry) => (entry.kind === 'tree' ? [entry.path] : []));
  const except = entries.flatMap((entry) => (entry.kind === 'mount' ? [entry.path] : []));
  const kernel: UninstallStep[] = [
    { do: 'remove-rules' },
    { do: 'remove-cgroups' },
    { do: 'unmount', below: [...new Set([...mountRoots, ...trees])], except },
    ...entries.flatMap((entry) => (entry.kind === 'link' ? [{ do: 'remove-link' as const, name: entry.name }] : [])),
  ];
  const settings = entries.flatMap((entry) =>
    entry.kind === 'sysctl' ? [{ do: 'restore-setting' as const, name: entry.name, value: entry.value }] : [],
  );
  return [
    // The agent first, so that no pod is started again; the proxy after the pods, which may need services to end.
    ...stop(units.filter(isAgent)),
    ...(root === '/' ? [{ do: 'remove-pods' as const }] : []),
    ...stop(units.filter((name) => !isAgent(name))),
    ...(root === '/' ? kernel : []),
    ...entries.toReversed().flatMap((entry) => fileStep(entry) ?? []),
    ...settings,
    ...(units.length > 0 ? [{ do: 'reload-systemd' as const }] : []),
  ];
}

/** A step as people read it. */
export function describeStep(step: UninstallStep): string {
  switch (step.do) {
    case 'stop-unit':
      return `stop and disable ${step.name}`;
    case 'remove-pods':
      return "stop and remove the node's pods";
    case 'remove-rules':
      return "remove the proxy's rules";
    case 'remove-cgroups':
      return "remove the pods' cgroups";
    case 'unmount':
      return `unmount what is mounted below ${step.below.join(', ')}${step.except.map((path) => `, but not ${path}`).join('')}`;
    case 'remove-link':
      return `remove the network link ${step.name}, if pods left it`;
    case 'remove-tree':
      return `remove ${step.path} with all in it`;
    case 'remove-file':
      return `remove ${step.path}`;
    case 'remove-directory':
      return `remove ${step.path}, if nothing is left in it`;
    case 'restore-file':
      return `put back ${step.path} as it was`;
    case 'restore-setting':
      return `set ${step.name} back to ${step.value}`;
    case 'reload-systemd':
      return 'let systemd read its units again';
    default:
      return step satisfies never;
  }
}

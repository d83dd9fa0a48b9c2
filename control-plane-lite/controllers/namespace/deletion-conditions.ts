// What a namespace that is being deleted says about its progress. Pure; texts are upstream's.
import type { NamespaceCondition } from '#kube/api/generated/core-v1.ts';
import { formatTime } from '#kube/api/time.ts';

/** The outcome of one pass over the namespace's content. */
export interface DeletionProgress {
  discoveryError: string | undefined;
  contentErrors: string[];
  /** Objects left, by `plural.group`. */
  remaining: ReadonlyMap<string, number>;
  /** Objects left that wait for a finalizer, by finalizer. */
  finalizers: ReadonlyMap<string, number>;
}

function listed(counts: ReadonlyMap<string, number>, text: (name: string, count: number) => string): string {
  return [...counts]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([name, count]) => text(name, count))
    .join(', ');
}

/** The five conditions; one whose status did not change keeps its transition time. */
export function deletionConditions(
  previous: readonly NamespaceCondition[] | undefined,
  progress: DeletionProgress,
  nowMs: number,
): NamespaceCondition[] {
  const { discoveryError, contentErrors, remaining, finalizers } = progress;
  const left = listed(remaining, (name, count) => `${name} has ${count} resource instances`);
  const waiting = listed(finalizers, (name, count) => `${name} in ${count} resource instances`);
  const states: [
    type: string,
    failing: boolean,
    [reason: string, message: string],
    [reason: string, message: string],
  ][] = [
    [
      'NamespaceDeletionDiscoveryFailure',
      discoveryError !== undefined,
      ['DiscoveryFailed', `Discovery failed for some groups, ${discoveryError}`],
      ['ResourcesDiscovered', 'All resources successfully discovered'],
    ],
    [
      'NamespaceDeletionGroupVersionParsingFailure',
      false,
      ['GroupVersionParsingFailed', ''],
      ['ParsedGroupVersions', 'All legacy kube types successfully parsed'],
    ],
    [
      'NamespaceDeletionContentFailure',
      contentErrors.length > 0,
      [
        'ContentDeletionFailed',
        `Failed to delete all resource types, ${contentErrors.length} remaining: ${contentErrors.join(', ')}`,
      ],
      ['ContentDeleted', 'All content successfully deleted, may be waiting on finalization'],
    ],
    [
      'NamespaceContentRemaining',
      remaining.size > 0,
      ['SomeResourcesRemain', `Some resources are remaining: ${left}`],
      ['ContentRemoved', 'All content successfully removed'],
    ],
    [
      'NamespaceFinalizersRemaining',
      finalizers.size > 0,
      ['SomeFinalizersRemain', `Some content in the namespace has finalizers remaining: ${waiting}`],
      ['ContentHasNoFinalizers', 'All content-preserving finalizers finished'],
    ],
  ];
  return states.map(([type, failing, bad, good]) => {
    const status = failing ? 'True' : 'False';
    const [reason, message] = failing ? bad : good;
    const known = previous?.find((condition) => condition.type === type);
    const lastTransitionTime = known?.status === status ? known.lastTransitionTime : formatTime(nowMs);
    return { type, status, reason, message, lastTransitionTime };
  });
}

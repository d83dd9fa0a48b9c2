// Lists of conditions: finding one, and setting one so that its transition time moves only with its status.

/** What all condition types share. */
export interface AnyCondition {
  type: string;
  status: string;
  reason?: string | undefined;
  message?: string | undefined;
  lastTransitionTime?: string | undefined;
}

/** The condition of a type, if the list has one. */
export function findCondition<C extends { type: string }>(
  conditions: readonly C[] | undefined,
  type: string,
): C | undefined {
  return conditions?.find((condition) => condition.type === type);
}

/** Whether a condition is there with status True. */
export function isConditionTrue(conditions: readonly AnyCondition[] | undefined, type: string): boolean {
  return findCondition(conditions, type)?.status === 'True';
}

/** The list with `condition` in its type's place. `lastTransitionTime` of the old one is kept when the status is the same. */
export function withCondition<C extends AnyCondition>(conditions: readonly C[] | undefined, condition: C): C[] {
  const list = conditions ?? [];
  const previous = findCondition(list, condition.type);
  if (previous === undefined) return [...list, condition];
  const kept =
    previous.status === condition.status && previous.lastTransitionTime !== undefined
      ? { ...condition, lastTransitionTime: previous.lastTransitionTime }
      : condition;
  return list.map((entry) => (entry === previous ? kept : entry));
}

/** The list without the condition of a type. */
export function withoutCondition<C extends { type: string }>(conditions: readonly C[] | undefined, type: string): C[] {
  return (conditions ?? []).filter((condition) => condition.type !== type);
}

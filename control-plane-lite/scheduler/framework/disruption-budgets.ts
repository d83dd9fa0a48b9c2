// Which pods may go without breaking a PodDisruptionBudget.
import type { PodDisruptionBudget } from '#kube/api/generated/policy-v1.ts';
import { requirementsOf, selectorMatches } from '#kube/api/label-selector.ts';
import type { PodInfo } from './pod-info.ts';

/** Both in the order in which they were given. */
export interface BudgetedPods {
  /** Their going would break a budget, if all before them go. */
  violating: PodInfo[];
  others: PodInfo[];
}

/** Pods that their budget already counts as going cost it nothing. */
export function splitByBudgets(pods: readonly PodInfo[], budgets: readonly PodDisruptionBudget[]): BudgetedPods {
  const left = budgets.map((budget) => ({
    namespace: budget.metadata.namespace,
    requirements: requirementsOf(budget.spec?.selector),
    counted: budget.status?.disruptedPods ?? {},
    allowed: budget.status?.disruptionsAllowed ?? 0,
  }));
  const split: BudgetedPods = { violating: [], others: [] };
  for (const info of pods) {
    const { namespace, name, labels = {} } = info.pod.metadata;
    let isViolating = false;
    for (const budget of left) {
      const { requirements } = budget;
      if (budget.namespace !== namespace || Object.keys(labels).length === 0) continue;
      if (requirements === undefined || requirements.length === 0 || !selectorMatches(requirements, labels)) continue;
      if (Object.hasOwn(budget.counted, name)) continue;
      budget.allowed -= 1;
      if (budget.allowed < 0) isViolating = true;
    }
    (isViolating ? split.violating : split.others).push(info);
  }
  return split;
}

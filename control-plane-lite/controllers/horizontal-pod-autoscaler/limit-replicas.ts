// From what the metrics ask for to what is set: stabilisation over time, rates of change, and the bounds. Pure: the
// history is handed in and handed back.
// Behaviour and texts: upstream's pkg/controller/podautoscaler/horizontal.go.
import type {
  HorizontalPodAutoscalerBehavior,
  HPAScalingPolicy,
  HPAScalingRules,
} from '#kube/api/generated/autoscaling-v2.ts';

export interface ScalingHistory {
  /** What the metrics asked for, and when. */
  recommendations: readonly { replicas: number; atMs: number }[];
  /** Changes of the size that were made; removals are negative. */
  changes: readonly { change: number; atMs: number }[];
}

export interface Verdict {
  status: 'True' | 'False';
  reason: string;
  message: string;
}

export interface Limited {
  replicas: number;
  /** For the condition AbleToScale. */
  stabilized: Verdict;
  /** For the condition ScalingLimited. */
  limited: Verdict;
}

export interface LimitInput {
  current: number;
  desired: number;
  min: number;
  max: number;
  behavior: HorizontalPodAutoscalerBehavior | undefined;
}

const defaultDownWindowSeconds = 300;
const mostRemembered = 512;

interface Rules {
  policies: readonly HPAScalingPolicy[];
  selectPolicy: string;
  stabilizationWindowSeconds: number;
}

function rulesOf(rules: HPAScalingRules | undefined, policies: HPAScalingPolicy[], windowSeconds: number) {
  return {
    policies: rules?.policies ?? policies,
    selectPolicy: rules?.selectPolicy ?? 'Max',
    stabilizationWindowSeconds: rules?.stabilizationWindowSeconds ?? windowSeconds,
  };
}

/** The rules of a behaviour with what the reference fills in. */
export function behaviorRules(behavior: HorizontalPodAutoscalerBehavior): { up: Rules; down: Rules } {
  const percent = { type: 'Percent', value: 100, periodSeconds: 15 };
  const upPolicies = [{ type: 'Pods', value: 4, periodSeconds: 15 }, percent];
  return {
    up: rulesOf(behavior.scaleUp, upPolicies, 0),
    down: rulesOf(behavior.scaleDown, [percent], defaultDownWindowSeconds),
  };
}

const within: Verdict = {
  status: 'False',
  reason: 'DesiredWithinRange',
  message: 'the desired count is within the acceptable range',
};
const tooFew: Verdict = {
  status: 'True',
  reason: 'TooFewReplicas',
  message: 'the desired replica count is less than the minimum replica count',
};
const tooMany: Verdict = {
  status: 'True',
  reason: 'TooManyReplicas',
  message: 'the desired replica count is more than the maximum replica count',
};
const tooFast = (direction: 'Up' | 'Down'): Verdict => ({
  status: 'True',
  reason: `Scale${direction}Limit`,
  message: `the desired replica count is ${direction === 'Up' ? 'increasing' : 'decreasing'} faster than the maximum scale rate`,
});

function stabilizedAs(direction: 'Up' | 'Down' | undefined): Verdict {
  if (direction === undefined) {
    return { status: 'True', reason: 'ReadyForNewScale', message: 'recommended size matches current size' };
  }
  const [were, taken] = direction === 'Up' ? ['lower', 'lowest'] : ['higher', 'highest'];
  const message = `recent recommendations were ${were} than current one, applying the ${taken} recent recommendation`;
  return { status: 'True', reason: `Scale${direction}Stabilized`, message };
}

/** Between the lowest recommendation of the one window and the highest of the other, as near to now as can be. */
function stabilize(
  { current, desired }: LimitInput,
  history: ScalingHistory,
  windows: { up: number; down: number },
  nowMs: number,
): number {
  const recent = (seconds: number) =>
    history.recommendations.filter(({ atMs }) => atMs > nowMs - seconds * 1000).map(({ replicas }) => replicas);
  const lowest = Math.min(desired, ...recent(windows.up));
  const highest = Math.max(desired, ...recent(windows.down));
  return Math.min(highest, Math.max(lowest, current));
}

/** What may be reached now by the rules of one direction. */
function rateLimit(
  current: number,
  { policies, selectPolicy }: Rules,
  history: ScalingHistory,
  sign: 1 | -1,
  nowMs: number,
) {
  if (selectPolicy === 'Disabled') return current;
  const proposals = policies.map(({ type, value, periodSeconds }) => {
    const changed = history.changes
      .filter(({ atMs }) => atMs > nowMs - periodSeconds * 1000)
      .reduce((sum, { change }) => sum + change, 0);
    const start = current - changed;
    if (type === 'Pods') return start + sign * value;
    const scaled = (start * (100 + sign * value)) / 100;
    return sign > 0 ? Math.ceil(scaled) : Math.floor(scaled);
  });
  // For growing the greatest change is the greatest number, for shrinking the least.
  const takeMost = (selectPolicy !== 'Min') === sign > 0;
  const limit = takeMost ? Math.max(...proposals) : Math.min(...proposals);
  return sign > 0 ? Math.max(limit, current) : Math.min(limit, current);
}

function limitByBehavior(
  input: LimitInput & { behavior: HorizontalPodAutoscalerBehavior },
  history: ScalingHistory,
  nowMs: number,
): Limited {
  const { current, min, max, desired: wanted } = input;
  const { up, down } = behaviorRules(input.behavior);
  const windows = { up: up.stabilizationWindowSeconds, down: down.stabilizationWindowSeconds };
  const desired = stabilize(input, history, windows, nowMs);
  const held = desired === wanted ? undefined : wanted >= current ? 'Up' : 'Down';
  const stabilized = stabilizedAs(held);
  if (desired > current) {
    const rate = rateLimit(current, up, history, 1, nowMs);
    if (desired > Math.min(max, rate)) {
      return { replicas: Math.min(max, rate), stabilized, limited: max > rate ? tooFast('Up') : tooMany };
    }
  } else if (desired < current) {
    const rate = rateLimit(current, down, history, -1, nowMs);
    if (desired < Math.max(min, rate)) {
      return { replicas: Math.max(min, rate), stabilized, limited: min < rate ? tooFast('Down') : tooFew };
    }
  }
  if (desired > max) return { replicas: max, stabilized, limited: tooMany };
  if (desired < min) return { replicas: min, stabilized, limited: tooFew };
  return { replicas: desired, stabilized, limited: within };
}

/** Without a behaviour: not lower than the last five minutes asked for, and at most doubled at once (or four). */
function limitPlainly(input: LimitInput, history: ScalingHistory, nowMs: number): Limited {
  const { current, min, max, desired: wanted } = input;
  const desired = Math.max(
    wanted,
    ...history.recommendations
      .filter(({ atMs }) => atMs >= nowMs - defaultDownWindowSeconds * 1000)
      .map(({ replicas }) => replicas),
  );
  const stabilized = stabilizedAs(desired === wanted ? undefined : 'Down');
  const rate = Math.max(2 * current, 4);
  if (desired < min) return { replicas: min, stabilized, limited: tooFew };
  if (desired > Math.min(max, rate)) {
    return { replicas: Math.min(max, rate), stabilized, limited: max > rate ? tooFast('Up') : tooMany };
  }
  return { replicas: desired, stabilized, limited: within };
}

/** Applies stabilisation, then rates, then bounds. */
export function limitReplicas(input: LimitInput, history: ScalingHistory, nowMs: number): Limited {
  const { behavior } = input;
  return behavior === undefined
    ? limitPlainly(input, history, nowMs)
    : limitByBehavior({ ...input, behavior }, history, nowMs);
}

/** The history with what was recommended and changed now, without what no rule looks at any more. */
export function remember(
  { recommendations, changes }: ScalingHistory,
  recommended: number | undefined,
  change: number,
  behavior: HorizontalPodAutoscalerBehavior | undefined,
  nowMs: number,
): ScalingHistory {
  const { up, down } = behaviorRules(behavior ?? {});
  const windowSeconds = Math.max(up.stabilizationWindowSeconds, down.stabilizationWindowSeconds);
  const periodSeconds = Math.max(0, ...[...up.policies, ...down.policies].map((policy) => policy.periodSeconds));
  const since = <T extends { atMs: number }>(all: readonly T[], seconds: number) =>
    all.filter(({ atMs }) => atMs >= nowMs - seconds * 1000).slice(-mostRemembered);
  return {
    recommendations: [
      ...since(recommendations, windowSeconds),
      ...(recommended === undefined ? [] : [{ replicas: recommended, atMs: nowMs }]),
    ],
    changes: [...since(changes, periodSeconds), ...(change === 0 ? [] : [{ change, atMs: nowMs }])],
  };
}

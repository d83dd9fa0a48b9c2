// What an update may change in a pod that exists.
import type { Container, Pod, PodSpec, Toleration } from '#kube/api/generated/core-v1.ts';
import { type FieldError, forbiddenField, invalidField } from '#kube/errors/field-error.ts';
import { sameValue, within } from './field-checks.ts';
import { validatePodSpec } from './pod-validation.ts';

const updateText =
  'pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)';
const maxInt32 = 2 ** 31 - 1;

function onlyAdded(
  tolerations: readonly Toleration[] | undefined,
  previous: readonly Toleration[] | undefined,
): boolean {
  return (previous ?? []).every((before) =>
    (tolerations ?? []).some((now) => {
      const { tolerationSeconds: _now, ...rest } = now;
      const { tolerationSeconds: _before, ...restBefore } = before;
      return sameValue(rest, restBefore);
    }),
  );
}

const withoutImage = ({ image: _image, ...container }: Container) => container;

/** The spec without what may change at any time. */
function fixedPart(spec: PodSpec): Partial<PodSpec> {
  const { tolerations: _tolerations, activeDeadlineSeconds: _deadline, schedulingGates: _gates, ...rest } = spec;
  return {
    ...rest,
    containers: spec.containers.map(withoutImage),
    initContainers: (spec.initContainers ?? []).map(withoutImage),
  };
}

function validateGates(pod: Pod, previous: Pod): FieldError[] {
  const before = new Set((previous.spec.schedulingGates ?? []).map((gate) => gate.name));
  const added = (pod.spec.schedulingGates ?? []).filter((gate) => !before.has(gate.name));
  if (added.length === 0) return [];
  const names = added.map((gate) => gate.name).sort();
  return [
    forbiddenField(
      'spec.schedulingGates',
      `only deletion is allowed, but found new scheduling gates '${names.join(', ')}'`,
    ),
  ];
}

/** Placement may be narrowed while scheduling gates hold the pod back. */
function withoutPlacement(spec: Partial<PodSpec>): Partial<PodSpec> {
  const { nodeSelector: _selector, affinity: _affinity, ...rest } = spec;
  return rest;
}

/** Rules of updating a pod's spec through the pod itself. */
export function validatePodUpdate(pod: Pod, previous: Pod): FieldError[] {
  const errors = validatePodSpec('spec', pod.spec);
  const count = pod.spec.containers.length;
  if (count !== previous.spec.containers.length) {
    errors.push(forbiddenField('spec.containers', 'pod updates may not add or remove containers'));
    return errors;
  }
  const deadline = pod.spec.activeDeadlineSeconds;
  const before = previous.spec.activeDeadlineSeconds;
  if (deadline !== undefined) {
    errors.push(...within('spec.activeDeadlineSeconds', deadline, 0, maxInt32));
    if (before !== undefined && deadline > before) {
      errors.push(invalidField('spec.activeDeadlineSeconds', deadline, 'must be less than or equal to previous value'));
    }
  } else if (before !== undefined) {
    errors.push(
      invalidField('spec.activeDeadlineSeconds', null, 'must not update from a positive integer to nil value'),
    );
  }
  errors.push(...validateGates(pod, previous));
  if (!onlyAdded(pod.spec.tolerations, previous.spec.tolerations)) {
    errors.push(
      forbiddenField('spec.tolerations', 'existing toleration can not be modified except its tolerationSeconds'),
    );
  }
  const gated = (previous.spec.schedulingGates ?? []).length > 0;
  const left = fixedPart(pod.spec);
  const right = fixedPart(previous.spec);
  const same = gated ? sameValue(withoutPlacement(left), withoutPlacement(right)) : sameValue(left, right);
  if (!same) errors.push(forbiddenField('spec', updateText));
  return errors;
}

/** Rules of the ephemeralcontainers subresource: containers are only added. */
export function validateEphemeralContainersUpdate(pod: Pod, previous: Pod): FieldError[] {
  const names = new Map((pod.spec.ephemeralContainers ?? []).map((container) => [container.name, container]));
  return (previous.spec.ephemeralContainers ?? []).flatMap((before) => {
    const now = names.get(before.name);
    if (now === undefined) {
      const text = `existing ephemeral containers ${JSON.stringify(before.name)} may not be removed\n`;
      return [forbiddenField('spec.ephemeralContainers', text)];
    }
    if (sameValue(now, before)) return [];
    const text = `existing ephemeral containers ${JSON.stringify(before.name)} may not be changed\n`;
    return [forbiddenField('spec.ephemeralContainers', text)];
  });
}

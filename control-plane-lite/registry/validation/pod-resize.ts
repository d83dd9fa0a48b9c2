// What the resize subresource may change in a pod: processors and memory of containers that go on running.
import type { Container, Pod, PodSpec, ResourceRequirements } from '#kube/api/generated/core-v1.ts';
import { computeQosClass, qosClassOf } from '#kube/api/pod-qos.ts';
import { isMirrorPod } from '#kube/api/pod-state.ts';
import { type FieldError, forbiddenField, invalidField } from '#kube/errors/field-error.ts';
import { sameValue } from './field-checks.ts';
import { validatePodSpec } from './pod-validation.ts';

const mutable = ['cpu', 'memory'];
const mutableText = 'only cpu and memory resources are mutable';

function fixedList(list: Record<string, string> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(list ?? {}).filter(([name]) => !mutable.includes(name)));
}

/** Resources without what may change. */
function fixedResources({ requests, limits, ...rest }: ResourceRequirements = {}) {
  return { ...rest, requests: fixedList(requests), limits: fixedList(limits) };
}

const fixed = (container: Container) => ({ ...container, resources: fixedResources(container.resources) });

/** Everything that stays as it is. */
function fixedSpec(spec: PodSpec): unknown {
  return {
    ...spec,
    containers: spec.containers.map(fixed),
    initContainers: (spec.initContainers ?? []).map(fixed),
    resources: fixedResources(spec.resources),
  };
}

function drops(list: Record<string, string> | undefined, previous: Record<string, string> | undefined): boolean {
  return mutable.some((name) => previous?.[name] !== undefined && list?.[name] === undefined);
}

function validateResources(
  path: string,
  now: ResourceRequirements | undefined,
  before: ResourceRequirements | undefined,
): FieldError[] {
  const errors: FieldError[] = [];
  if (drops(now?.limits, before?.limits)) {
    errors.push(forbiddenField(`${path}.limits`, 'resource limits cannot be removed'));
  }
  if (drops(now?.requests, before?.requests)) {
    errors.push(forbiddenField(`${path}.requests`, 'resource requests cannot be removed'));
  }
  return errors;
}

function validateContainers(
  path: string,
  now: readonly Container[] | undefined,
  before: readonly Container[] | undefined,
): FieldError[] {
  return (before ?? []).flatMap((container, index) =>
    validateResources(`${path}[${index}].resources`, now?.[index]?.resources, container.resources),
  );
}

/** Rules of the resize subresource: only containers' resources change, and the quality of service class stays. */
export function validatePodResize(pod: Pod, previous: Pod): FieldError[] {
  if (isMirrorPod(previous)) return [forbiddenField('', 'static pods cannot be resized')];
  if (previous.spec.os?.name === 'windows') return [forbiddenField('', 'windows pods cannot be resized')];
  const errors = validatePodSpec('spec', pod.spec);
  const qosClass = qosClassOf(previous);
  if (computeQosClass(pod) !== qosClass) {
    errors.push(invalidField('spec', qosClass, 'Pod QOS Class may not change as a result of resizing'));
  }
  errors.push(
    ...validateContainers('spec.initContainers', pod.spec.initContainers, previous.spec.initContainers),
    ...validateContainers('spec.containers', pod.spec.containers, previous.spec.containers),
    ...validateResources('spec.resources', pod.spec.resources, previous.spec.resources),
  );
  if (!sameValue(fixedSpec(pod.spec), fixedSpec(previous.spec))) errors.push(forbiddenField('spec', mutableText));
  return errors;
}

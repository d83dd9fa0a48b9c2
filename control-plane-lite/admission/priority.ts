// Priority: turns the class that a pod names into its number, and keeps the default class unique.

import { pods, priorityclasses } from '#kube/api/generated/resources.ts';
import type { PriorityClass } from '#kube/api/generated/scheduling-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { forbidden } from '../registry/status-errors.ts';
import type { AdmissionPlugin, AdmissionRequest } from './plugin.ts';
import { createdPod, isMirrorPod, type PodObject } from './pod-request.ts';

function admitPod(request: AdmissionRequest, pod: PodObject): void {
  const { spec, metadata } = pod;
  const wanted = spec.priorityClassName ?? '';
  if (wanted === '' && isMirrorPod(pod) && spec.priority !== undefined) return;
  let found: (KubeObject & PriorityClass) | undefined;
  if (wanted === '') {
    const defaults = request.objects.list(priorityclasses).filter(({ globalDefault }) => globalDefault === true);
    found = defaults.sort((a, b) => (a.value ?? 0) - (b.value ?? 0))[0];
  } else {
    found = request.objects.get(priorityclasses, '', wanted);
    if (found === undefined) throw forbidden(pods, metadata.name, `no PriorityClass with name ${wanted} was found`);
  }
  const value = found?.value ?? 0;
  if (spec.priority !== undefined && spec.priority !== value) {
    const why = `the integer value of priority (${spec.priority}) must not be provided in pod spec; priority admission controller computed ${value} from the given PriorityClass name`;
    throw forbidden(pods, metadata.name, why);
  }
  if (found !== undefined) spec.priorityClassName = found.metadata.name;
  spec.priority = value;
  const policy = found?.preemptionPolicy ?? 'PreemptLowerPriority';
  if (spec.preemptionPolicy !== undefined && spec.preemptionPolicy !== policy) {
    const why = `the string value of PreemptionPolicy (${spec.preemptionPolicy}) must not be provided in pod spec; priority admission controller computed ${policy} from the given PriorityClass name`;
    throw forbidden(pods, metadata.name, why);
  }
  spec.preemptionPolicy = policy;
}

export const priorityAdmission: AdmissionPlugin = {
  name: 'Priority',
  mutate: (request) => {
    const pod = createdPod(request);
    if (pod !== undefined) admitPod(request, pod);
  },
  validate: ({ served, object, verb, objects, name }) => {
    if (served.stored.kind !== 'PriorityClass' || verb === 'delete') return undefined;
    const { globalDefault } = object as KubeObject & PriorityClass;
    if (globalDefault !== true) return undefined;
    const other = objects
      .list(priorityclasses)
      .find((each) => each.globalDefault === true && each.metadata.name !== name);
    if (other === undefined) return undefined;
    const why = `PriorityClass ${other.metadata.name} is already marked as default. Only one default can exist`;
    throw forbidden(priorityclasses, name, why);
  },
};

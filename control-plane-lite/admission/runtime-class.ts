// RuntimeClass: a pod carries the overhead and the scheduling constraints of the class that it names.
import { isDeepStrictEqual } from 'node:util';
import { pods, runtimeclasses } from '#kube/api/generated/resources.ts';
import { forbidden } from '../registry/status-errors.ts';
import type { AdmissionPlugin } from './plugin.ts';
import { createdPod } from './pod-request.ts';

export const runtimeClassAdmission: AdmissionPlugin = {
  name: 'RuntimeClass',
  mutate: (request) => {
    const pod = createdPod(request);
    const wanted = pod?.spec.runtimeClassName;
    if (pod === undefined || wanted === undefined) return;
    const { spec, metadata } = pod;
    const found = request.objects.get(runtimeclasses, '', wanted);
    if (found === undefined) {
      const why = `pod rejected: RuntimeClass ${JSON.stringify(wanted)} not found`;
      throw forbidden(pods, metadata.name, why);
    }
    const overhead = found.overhead?.podFixed;
    if (overhead !== undefined) {
      if (spec.overhead !== undefined && !isDeepStrictEqual(spec.overhead, overhead)) {
        throw forbidden(
          pods,
          metadata.name,
          "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead",
        );
      }
      spec.overhead = structuredClone(overhead);
    }
    const { nodeSelector, tolerations } = found.scheduling ?? {};
    for (const [key, value] of Object.entries(nodeSelector ?? {})) {
      const own = spec.nodeSelector?.[key];
      if (own !== undefined && own !== value) {
        throw forbidden(
          pods,
          metadata.name,
          `conflict: runtimeClass.scheduling.nodeSelector[${key}] = ${value}; pod.spec.nodeSelector[${key}] = ${own}`,
        );
      }
    }
    if (nodeSelector !== undefined) spec.nodeSelector = { ...spec.nodeSelector, ...nodeSelector };
    const added = (tolerations ?? []).filter(
      (each) => !(spec.tolerations ?? []).some((own) => isDeepStrictEqual(own, each)),
    );
    if (added.length > 0) spec.tolerations = [...(spec.tolerations ?? []), ...structuredClone(added)];
  },
};

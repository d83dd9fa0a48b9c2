// Whether a node that is short of something takes another pod (pkg/kubelet/eviction/eviction_manager.go: Admit). Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { qosClassOf } from '#kube/api/pod-qos.ts';
import { isTolerated, taintMemoryPressure } from '#kube/api/taints.ts';
import { isCriticalPod } from '../sync/plan-preemption.ts';
import { conditionNames, type Pressure } from './plan-pressure.ts';

/** Undefined when the pod may come: pods of the system always, short memory keeps only pods away that ask for none. */
export function admitUnderPressure(pod: Pod, pressure: Pressure): { reason: string; message: string } | undefined {
  const names = conditionNames(pressure);
  if (names.length === 0 || isCriticalPod(pod)) return undefined;
  if (names.length === 1 && pressure.memory) {
    if (qosClassOf(pod) !== 'BestEffort') return undefined;
    if (isTolerated({ key: taintMemoryPressure, effect: 'NoSchedule' }, pod.spec.tolerations)) return undefined;
  }
  return { reason: 'Evicted', message: `Pod was rejected: The node had condition: [${names.join(' ')}]. ` };
}

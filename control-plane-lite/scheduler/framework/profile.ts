// One way of scheduling, by the scheduler's name that pods ask for: its plugins with their weights and settings.
import type { InterPodSettings } from '../relations/inter-pod-affinity.ts';
import type { SpreadSettings } from '../relations/topology-spread.ts';
import type { VolumeSettings } from '../volumes/plan-volumes.ts';
import type { Plugin } from './plugin.ts';

/** How candidates for preemption are looked for: so many percent of the nodes, but at least so many. */
export interface PreemptionSettings {
  minPercentage: number;
  minAbsolute: number;
}

export interface Profile {
  /** Pods name it in spec.schedulerName. */
  schedulerName: string;
  /** About one node at a time, in the order in which refusals are reported. */
  plugins: readonly Plugin[];
  /** How much the zone counts for pods of one controller. */
  zoneWeight: number;
  spread: SpreadSettings;
  interPod: InterPodSettings;
  volumes: VolumeSettings;
  /** Undefined: no pod has to go for another. */
  preemption: PreemptionSettings | undefined;
  /** Whether resource claims are looked at. */
  devices: boolean;
  /** Whether pods with scheduling gates are left alone. */
  gates: boolean;
}

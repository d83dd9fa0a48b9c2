// What FlowSchemas and PriorityLevelConfigurations say together: which schema a request falls under, and how each level
// is limited. Source of the rules: k8s.io/apiserver, util/flowcontrol.
import type { FlowSchema, PriorityLevelConfiguration } from '#kube/api/generated/flowcontrol-v1.ts';
import { mandatoryFlowSchemas, mandatoryPriorityLevels } from '../../registry/mandatory-flows.ts';

export interface QueueConfig {
  queues: number;
  handSize: number;
  queueLengthLimit: number;
}

export interface LevelConfig {
  name: string;
  uid: string;
  isExempt: boolean;
  shares: number;
  /** Of the nominal seats, in hundredths. */
  lendablePercent: number;
  /** Undefined: as much as there is. */
  borrowingLimitPercent: number | undefined;
  /** Undefined: what finds no seat is refused at once. */
  queuing: QueueConfig | undefined;
}

export interface FlowConfig {
  /** In the order in which they are asked; those of levels that do not exist are left out. */
  schemas: readonly FlowSchema[];
  levels: ReadonlyMap<string, LevelConfig>;
}

function levelOf({ metadata, spec }: PriorityLevelConfiguration): LevelConfig {
  const isExempt = spec.type === 'Exempt';
  const { limited } = spec;
  const part = isExempt ? spec.exempt : limited;
  const queuing = limited?.limitResponse?.type === 'Queue' ? limited.limitResponse.queuing : undefined;
  return {
    name: metadata.name,
    uid: metadata.uid ?? '',
    isExempt,
    shares: part?.nominalConcurrencyShares ?? (isExempt ? 0 : 30),
    lendablePercent: part?.lendablePercent ?? 0,
    borrowingLimitPercent: limited?.borrowingLimitPercent,
    queuing:
      queuing === undefined
        ? undefined
        : {
            queues: queuing.queues ?? 64,
            handSize: queuing.handSize ?? 8,
            queueLengthLimit: queuing.queueLengthLimit ?? 50,
          },
  };
}

/** The mandatory ones are always there, whatever is stored. */
function withMandatory<T extends { metadata: { name: string } }>(stored: readonly T[], mandatory: readonly T[]): T[] {
  const names = new Set(stored.map(({ metadata }) => metadata.name));
  return [...stored, ...mandatory.filter(({ metadata }) => !names.has(metadata.name))];
}

const byPrecedence = (a: FlowSchema, b: FlowSchema): number =>
  (a.spec.matchingPrecedence ?? 0) - (b.spec.matchingPrecedence ?? 0) || (a.metadata.name < b.metadata.name ? -1 : 1);

/** Puts the stored objects together, with the mandatory ones where they are missing. */
export function planFlowConfig(
  schemas: readonly FlowSchema[],
  levels: readonly PriorityLevelConfiguration[],
): FlowConfig {
  const all = withMandatory(levels, mandatoryPriorityLevels);
  const known = new Map(all.map(levelOf).map((level) => [level.name, level]));
  const usable = withMandatory(schemas, mandatoryFlowSchemas).filter(({ spec }) =>
    known.has(spec.priorityLevelConfiguration.name),
  );
  return { schemas: usable.sort(byPrecedence), levels: known };
}

// What `berth hollow` was asked for. Wrong input is one line.
import type { Taint } from '#kube/api/generated/core-v1.ts';
import { parseQuantity } from '#kube/api/quantity.ts';
import { parseDurationMs, UsageError } from '#kube/process/flags.ts';
import type { ConnectOptions } from '../explain/connect.ts';

/** As the command line has it. */
export interface HollowCommandOptions extends ConnectOptions {
  nodes: number;
  namePrefix: string;
  capacity: string;
  labels: string;
  taint: string[];
  zones: number;
  startDelay: string;
  keep: boolean;
}

/** Nodes that are all alike, but for their names, addresses and zones. */
export interface FleetOptions {
  count: number;
  /** Names are PREFIX-0, PREFIX-1, … */
  namePrefix: string;
  capacity: Record<string, string>;
  labels: Record<string, string>;
  taints: Taint[];
  /** Zones that the nodes are spread over; 0: no zone. */
  zones: number;
  /** From a pod's coming to its containers' running. */
  startDelayMs: number;
}

/** Each node has 254 addresses for pods out of 100.64.0.0/10. */
export const maxNodes = 16_384;

const defaultCapacity = { cpu: '8', memory: '32Gi', pods: '110', 'ephemeral-storage': '100Gi' };
const effects = ['NoSchedule', 'PreferNoSchedule', 'NoExecute'];

function parsePairs(flag: string, text: string): Record<string, string> {
  const pairs = text.split(',').filter((pair) => pair !== '');
  return Object.fromEntries(
    pairs.map((pair) => {
      const at = pair.indexOf('=');
      if (at < 1) throw new UsageError(`--${flag} takes key=value pairs, not "${pair}"`);
      return [pair.slice(0, at), pair.slice(at + 1)];
    }),
  );
}

function parseCapacity(text: string): Record<string, string> {
  const capacity = { ...defaultCapacity, ...parsePairs('capacity', text) };
  for (const [resource, amount] of Object.entries(capacity)) {
    try {
      parseQuantity(amount);
    } catch (error) {
      throw new UsageError(`--capacity: ${resource} takes a quantity such as 8 or 32Gi, not "${amount}"`, {
        cause: error,
      });
    }
  }
  return capacity;
}

function parseTaint(text: string): Taint {
  const match = /^([^=:]+)(?:=([^:]*))?:(\w+)$/.exec(text);
  const [, key = '', value = '', effect = ''] = match ?? [];
  if (match === null || !effects.includes(effect)) {
    throw new UsageError(`--taint takes KEY=VALUE:EFFECT with ${effects.join(', ')}, not "${text}"`);
  }
  return { key, effect, ...(value === '' ? {} : { value }) };
}

/** Throws UsageError. */
export function parseFleetOptions(options: HollowCommandOptions): FleetOptions {
  const { nodes, namePrefix, zones } = options;
  if (nodes < 1 || nodes > maxNodes) throw new UsageError(`--nodes takes a number from 1 to ${maxNodes}, not ${nodes}`);
  if (!/^[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?$/.test(namePrefix)) {
    throw new UsageError(`--name-prefix takes lower case letters, digits, - and ., not "${namePrefix}"`);
  }
  if (zones > nodes) throw new UsageError(`--zones takes at most one zone for each node, not ${zones} for ${nodes}`);
  return {
    count: nodes,
    namePrefix,
    capacity: parseCapacity(options.capacity),
    labels: parsePairs('labels', options.labels),
    taints: options.taint.map(parseTaint),
    zones,
    startDelayMs: parseDurationMs(options.startDelay),
  };
}

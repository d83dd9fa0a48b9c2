// topologyManagerPolicyOptions (pkg/kubelet/cm/topologymanager/policy_options.go). Pure.
import { UsageError } from '#kube/process/flags.ts';

/** As many nodes a machine may have: with more, their combinations are too many to be looked at. */
const defaultMaxNodes = 8;

/** The options of the topology manager. */
export interface TopologyPolicyOptions {
  preferClosest: boolean;
}

const truths = ['1', 't', 'T', 'TRUE', 'true', 'True'];
const lies = ['0', 'f', 'F', 'FALSE', 'false', 'False'];

/** Reads the options for a machine with so many nodes. Throws UsageError in kubelet's words. */
export function parseTopologyOptions(
  policy: string,
  given: Readonly<Record<string, string>>,
  nodes: number,
): TopologyPolicyOptions {
  let preferClosest = false;
  let maxNodes = defaultMaxNodes;
  for (const [name, value] of Object.entries(given)) {
    if (name === 'prefer-closest-numa-nodes') {
      if (!truths.includes(value) && !lies.includes(value)) {
        throw new UsageError(`bad value for option ${JSON.stringify(name)}: ${JSON.stringify(value)} is no boolean`);
      }
      preferClosest = truths.includes(value);
    } else if (name === 'max-allowable-numa-nodes') {
      maxNodes = /^[+-]?\d+$/.test(value) ? Number(value) : Number.NaN;
      if (Number.isNaN(maxNodes)) {
        throw new UsageError(
          `unable to convert policy option to int ${JSON.stringify(name)}: ${JSON.stringify(value)} is no number`,
        );
      }
      if (maxNodes < defaultMaxNodes) {
        throw new UsageError(`the minimum value of ${JSON.stringify(name)} should not be less than ${defaultMaxNodes}`);
      }
    } else throw new UsageError(`unknown Topology Manager Policy option: ${JSON.stringify(name)}`);
  }
  if (policy !== 'none' && nodes > maxNodes) {
    throw new UsageError(`unsupported on machines with more than ${maxNodes} NUMA Nodes`);
  }
  return { preferClosest };
}

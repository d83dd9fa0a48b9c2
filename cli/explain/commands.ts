// `berth explain pod` and `berth retry pod`.
import { systemClock } from '#kube/process/clock.ts';
import { UsageError } from '#kube/process/flags.ts';
import { type ConnectOptions, connect } from './connect.ts';
import { explainPod } from './explain-pod.ts';
import { findPod, nodePath } from './find-pod.ts';
import { renderExplanation } from './render-explanation.ts';

/** Prints what the pod waits for. */
export async function runExplainPod(
  name: string,
  options: ConnectOptions & { output?: string },
  signal: AbortSignal,
): Promise<void> {
  if (options.output !== undefined && options.output !== 'json') {
    throw new UsageError(`unknown output "${options.output}": json is the only one`);
  }
  const client = connect(options);
  try {
    const { pod, explanation } = await explainPod(client, name, systemClock, signal);
    const nodeName = pod.spec.nodeName ?? '';
    const text =
      options.output === 'json'
        ? `${JSON.stringify({ ...explanation, nodeName }, undefined, 2)}\n`
        : renderExplanation(explanation, nodeName, systemClock.now());
    process.stdout.write(text);
  } finally {
    await client.close();
  }
}

/** Has the node try again at once what it waits with. */
export async function runRetryPod(name: string, options: ConnectOptions, signal: AbortSignal): Promise<void> {
  const client = connect(options);
  try {
    const pod = await findPod(client, name, signal);
    const { namespace, name: own } = pod.metadata;
    if ((pod.spec.nodeName ?? '') === '') {
      throw new UsageError(`pod ${namespace}/${own} has no node yet: the scheduler tries it by itself`);
    }
    await client.raw({ method: 'POST', path: nodePath(pod, 'retry'), signal });
    process.stdout.write(`pod ${namespace}/${own} is tried again on node ${pod.spec.nodeName}\n`);
  } finally {
    await client.close();
  }
}

// Pods that come and go in every way for as long as it is asked: with volumes and probes, crashing, running to their
// end; their logs are read and commands run in them.
import { setTimeout as sleep } from 'node:timers/promises';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { type Exec, execOrThrow } from '#kube/process/exec.ts';
import { busyboxImage } from '../../packaging/images/build-images.ts';
import { type LoadClient, mustCall } from '../http.ts';

const base = '/api/v1/namespaces/default/pods';
const pollMs = 150;
const patienceMs = 120_000;
const idle = 'trap "exit 0" TERM; echo up; sleep 3600 & wait';

interface Kind {
  spec: object;
  /** Whether the pod has come where it should. */
  isThere(pod: Pod): boolean;
}

const shell = (script: string) => ({ name: 'c', image: busyboxImage, command: ['sh', '-c', script] });
const isReady = ({ status }: Pod): boolean =>
  status?.conditions?.some(({ type, status: value }) => type === 'Ready' && value === 'True') ?? false;

const kinds: readonly Kind[] = [
  {
    spec: {
      containers: [
        {
          ...shell(idle),
          readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
          volumeMounts: [
            { name: 'memory', mountPath: '/memory' },
            { name: 'ca', mountPath: '/ca' },
          ],
        },
      ],
      volumes: [
        { name: 'memory', emptyDir: { medium: 'Memory' } },
        { name: 'ca', configMap: { name: 'kube-root-ca.crt' } },
      ],
    },
    isThere: isReady,
  },
  {
    spec: { containers: [shell('echo up; exit 1')] },
    isThere: ({ status }) => (status?.containerStatuses?.[0]?.restartCount ?? 0) > 0,
  },
  { spec: { containers: [shell(idle)] }, isThere: isReady },
  {
    spec: {
      restartPolicy: 'Never',
      initContainers: [{ ...shell('true'), name: 'i' }],
      containers: [shell('echo up')],
    },
    isThere: ({ status }) => status?.phase === 'Succeeded',
  },
];

export interface ChurnOptions {
  client: LoadClient;
  exec: Exec;
  kubeconfig: string;
  nodeName: string;
  workers: number;
  durationMs: number;
}

/** Runs until the time is over. Returns how many pods came and went; throws when one does not. */
export async function churnPods({ client, exec, ...options }: ChurnOptions): Promise<number> {
  const run = Math.random().toString(36).slice(2, 7);
  const endMs = performance.now() + options.durationMs;
  let next = 0;

  async function until(name: string, what: string, holds: (pod: Pod | undefined) => boolean): Promise<void> {
    const limitMs = performance.now() + patienceMs;
    for (;;) {
      const { status, body } = await client.call('GET', `${base}/${name}`);
      const pod = status === 404 ? undefined : (JSON.parse(body.toString()) as Pod);
      if (holds(pod)) return;
      if (performance.now() > limitMs) throw new Error(`pod ${name} is not ${what}: ${JSON.stringify(pod?.status)}`);
      await sleep(pollMs);
    }
  }

  async function one(index: number): Promise<void> {
    const name = `soak-${run}-${index}`;
    const kind = kinds[index % kinds.length];
    if (kind === undefined) return;
    const spec = { nodeName: options.nodeName, terminationGracePeriodSeconds: 1, ...kind.spec };
    await mustCall(client, 'POST', base, { metadata: { name }, spec });
    await until(name, 'there', (pod) => pod !== undefined && kind.isThere(pod));
    await mustCall(client, 'GET', `${base}/${name}/log`);
    if (index % kinds.length === 2) {
      await execOrThrow(exec, 'kubectl', ['--kubeconfig', options.kubeconfig, 'exec', name, '--', 'true']);
    }
    await mustCall(client, 'DELETE', `${base}/${name}`);
    await until(name, 'gone', (pod) => pod === undefined);
  }

  async function worker(): Promise<void> {
    while (performance.now() < endMs) {
      const index = next;
      next += 1;
      await one(index);
    }
  }

  await Promise.all(Array.from({ length: options.workers }, worker));
  return next;
}

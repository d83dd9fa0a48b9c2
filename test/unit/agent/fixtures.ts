// Pods and what a runtime has of them, for the tests of pure functions.
import type { Container, Pod, PodSpec } from '#kube/api/generated/core-v1.ts';
import { containerHash } from '../../../agent/container/container-hash.ts';
import type { PodRuntime, RuntimeContainer, RuntimeSandbox } from '../../../agent/runtime-cache/pod-runtime.ts';

export function podOf(
  spec: Partial<PodSpec> & { containers: Container[] },
  metadata: Partial<Pod['metadata']> = {},
): Pod {
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'web', namespace: 'shop', uid: 'uid-1', generation: 1, ...metadata },
    spec: { restartPolicy: 'Always', ...spec },
  };
}

export function container(name: string, extra: Partial<Container> = {}): Container {
  return { name, image: 'image:1', ...extra };
}

export function sandbox(extra: Partial<RuntimeSandbox> = {}): RuntimeSandbox {
  return {
    id: 's0',
    attempt: 0,
    ready: true,
    createdAtMs: 0,
    ips: ['10.1.0.5'],
    hostNetwork: false,
    annotations: {},
    labels: {},
    ...extra,
  };
}

export function run(name: string, extra: Partial<RuntimeContainer> = {}, restartCount = 0): RuntimeContainer {
  return {
    id: `${name}-${restartCount}`,
    name,
    sandboxId: 's0',
    state: 'running',
    createdAtMs: restartCount,
    startedAtMs: 1000,
    finishedAtMs: 0,
    exitCode: 0,
    reason: '',
    message: '',
    image: 'image:1',
    imageRef: 'sha256:abc',
    logPath: '',
    facts: {
      hash: containerHash({ name, image: 'image:1' }),
      restartCount,
      terminationMessagePath: '/dev/termination-log',
      fallbackToLogsOnError: false,
      terminationGracePeriodSeconds: 30,
      preStop: undefined,
    },
    stopSignal: undefined,
    user: undefined,
    ...extra,
  };
}

export function ended(name: string, exitCode: number, restartCount = 0): RuntimeContainer {
  const reason = exitCode === 0 ? 'Completed' : 'Error';
  return run(name, { state: 'exited', exitCode, reason, finishedAtMs: 2000 }, restartCount);
}

export function runtimeOf(containers: RuntimeContainer[], sandboxes: RuntimeSandbox[] = [sandbox()]): PodRuntime {
  return { uid: 'uid-1', name: 'web', namespace: 'shop', sandboxes, containers };
}

// ContainerStatus entries from what the runtime has (pkg/kubelet/kubelet_pods.go: convertToAPIContainerStatuses). Pure.
import type {
  Container,
  ContainerState,
  ContainerStateTerminated,
  ContainerStatus,
  Pod,
  ResourceRequirements,
  ResourceStatus,
  VolumeMountStatus,
} from '#kube/api/generated/core-v1.ts';
import { isSidecar } from '#kube/api/pod-resources.ts';
import { formatTime } from '#kube/api/time.ts';
import type { ContainerKind } from '../container/pod-containers.ts';
import type { PodRuntime, RuntimeContainer } from '../runtime-cache/pod-runtime.ts';
import { mayRestartAll, shouldRestart } from '../sync/restart-policy.ts';

/** Why a container is not running, as the last attempt to start it ended: a reason such as CrashLoopBackOff. */
export interface WaitingReason {
  reason: string;
  message: string;
}

/** What statuses depend on besides the runtime. */
export interface StatusInputs {
  pod: Pod;
  observed: PodRuntime;
  /** By container name. */
  waiting: ReadonlyMap<string, WaitingReason>;
  /** Readiness and start of a running container, as probes see them. */
  isReady(containerId: string, container: Container): boolean;
  isStarted(containerId: string, container: Container): boolean;
  /** The pod with the resources that its containers run with; absent: those of its definition. */
  actuated?: Pod;
  /** Whether the pod's runtime can make all below a mount read-only. */
  recursiveReadOnly?: boolean;
  /** Devices that the container was given, with their health. */
  devices?(container: Container): ResourceStatus[];
  /** For example containerd. */
  runtimeName: string;
  /** The status told before: it remembers how a run ended that the runtime no longer has. */
  before(name: string): ContainerStatus | undefined;
}

function volumeMounts(container: Container, canRecurse: boolean): VolumeMountStatus[] {
  const isRecursive = (mode: string | undefined) => mode === 'Enabled' || (mode === 'IfPossible' && canRecurse);
  return (container.volumeMounts ?? []).map(({ name, mountPath, readOnly, recursiveReadOnly }) => ({
    name,
    mountPath,
    ...(readOnly === true
      ? { readOnly, recursiveReadOnly: isRecursive(recursiveReadOnly) ? 'Enabled' : 'Disabled' }
      : {}),
  }));
}

function terminated(run: RuntimeContainer, runtimeName: string): ContainerStateTerminated {
  return {
    exitCode: run.exitCode,
    ...(run.reason === '' ? {} : { reason: run.reason }),
    ...(run.message === '' ? {} : { message: run.message }),
    startedAt: formatTime(run.startedAtMs),
    finishedAt: formatTime(run.finishedAtMs),
    containerID: `${runtimeName}://${run.id}`,
  };
}

function stateOf(run: RuntimeContainer, runtimeName: string): ContainerState {
  switch (run.state) {
    case 'created':
      return { waiting: {} };
    case 'running':
      return { running: { startedAt: formatTime(run.startedAtMs) } };
    case 'exited':
      return { terminated: terminated(run, runtimeName) };
    default: {
      const lost = run.finishedAtMs > 0 ? { finishedAt: formatTime(run.finishedAtMs) } : {};
      const message = 'The container could not be located when the pod was terminated';
      return { terminated: { exitCode: 137, reason: 'ContainerStatusUnknown', message, ...lost } };
    }
  }
}

/** Resources as the container runs with them; one that does not run has those it was given. */
function runningResources({ actuated }: StatusInputs, container: Container): ResourceRequirements | undefined {
  if (actuated === undefined) return container.resources;
  const own = [...(actuated.spec.initContainers ?? []), ...actuated.spec.containers].find(
    (item) => item.name === container.name,
  );
  return own === undefined ? container.resources : own.resources;
}

function withResources(inputs: StatusInputs, container: Container, running: boolean): Partial<ContainerStatus> {
  const allocated = container.resources?.requests ?? {};
  const { requests, limits } = (running ? runningResources(inputs, container) : container.resources) ?? {};
  // Requests follow limits where only these are set; the API server has defaulted them.
  const hasRequests = requests !== undefined && Object.keys(requests).length > 0;
  return {
    ...(Object.keys(allocated).length > 0 ? { allocatedResources: allocated } : {}),
    resources: { ...(limits === undefined ? {} : { limits }), ...(hasRequests ? { requests } : {}) },
  };
}

function isInitReady(container: Container, run: RuntimeContainer, inputs: StatusInputs): boolean {
  if (!isSidecar(container)) return run.state === 'exited' && run.exitCode === 0;
  return run.state === 'running' && inputs.isReady(run.id, container);
}

/** What is known of the last run of a container that the runtime has nothing of. */
function lostRun(pod: Pod, before: ContainerStatus | undefined): Pick<ContainerStatus, 'lastState' | 'restartCount'> {
  const restartCount = before?.restartCount ?? 0;
  const { state = {}, lastState = {} } = before ?? {};
  if (state.terminated !== undefined) return { lastState: { terminated: state.terminated }, restartCount };
  if (state.running === undefined || lastState.terminated !== undefined) return { lastState, restartCount };
  const message = 'The container could not be located when the pod was deleted.  The container used to be Running';
  const terminated = { exitCode: 137, reason: 'ContainerStatusUnknown', message };
  const restarted = pod.metadata.deletionTimestamp === undefined ? 1 : 0;
  return { lastState: { terminated }, restartCount: restartCount + restarted };
}

function withoutRun(inputs: StatusInputs, container: Container): ContainerStatus {
  const { pod, waiting } = inputs;
  const starting = (pod.spec.initContainers ?? []).length > 0 ? 'PodInitializing' : 'ContainerCreating';
  const why = pod.metadata.deletionTimestamp === undefined ? waiting.get(container.name) : undefined;
  const mounts = volumeMounts(container, inputs.recursiveReadOnly === true);
  const before = inputs.before(container.name);
  // The runtime forgot a run that had ended: its status stays the last word, unless the whole pod starts again.
  if (before?.state?.terminated !== undefined && why === undefined && !mayRestartAll(pod)) {
    return { ...before, ready: false };
  }
  return {
    name: container.name,
    state: { waiting: why === undefined ? { reason: starting } : { reason: why.reason, message: why.message } },
    ...lostRun(pod, before),
    ready: false,
    image: container.image ?? '',
    imageID: '',
    started: false,
    ...(mounts.length > 0 ? { volumeMounts: mounts } : {}),
  };
}

/** The status of one container. */
export function computeContainerStatus(
  inputs: StatusInputs,
  kind: ContainerKind,
  container: Container,
): ContainerStatus {
  const { pod, observed, waiting, runtimeName } = inputs;
  const runs = observed.containers.filter((item) => item.name === container.name);
  const [latest, previous] = runs;
  if (latest === undefined) return withoutRun(inputs, container);
  const mounts = volumeMounts(container, inputs.recursiveReadOnly === true);
  let state = stateOf(latest, runtimeName);
  let lastState: ContainerState =
    previous === undefined ? (inputs.before(container.name)?.lastState ?? {}) : stateOf(previous, runtimeName);
  const why = waiting.get(container.name);
  if (
    why !== undefined &&
    latest.state !== 'running' &&
    kind !== 'ephemeral' &&
    shouldRestart(pod, container, latest)
  ) {
    if (state.terminated !== undefined) lastState = state;
    state = { waiting: { reason: why.reason, ...(why.message === '' ? {} : { message: why.message }) } };
  }
  const running = latest.state === 'running';
  const devices = kind === 'ephemeral' ? [] : (inputs.devices?.(container) ?? []);
  const ready =
    kind === 'init' ? isInitReady(container, latest, inputs) : running && inputs.isReady(latest.id, container);
  return {
    name: container.name,
    state,
    lastState,
    ready: kind === 'ephemeral' ? false : ready,
    restartCount: latest.facts.restartCount,
    image: latest.image,
    imageID: latest.imageRef,
    containerID: `${runtimeName}://${latest.id}`,
    ...(kind === 'ephemeral' ? {} : { started: running && inputs.isStarted(latest.id, container) }),
    ...(kind === 'ephemeral' ? {} : withResources(inputs, container, running)),
    ...(devices.length > 0 ? { allocatedResourcesStatus: devices } : {}),
    ...(mounts.length > 0 ? { volumeMounts: mounts } : {}),
    ...(latest.stopSignal === undefined ? {} : { stopSignal: latest.stopSignal }),
    ...(latest.user === undefined ? {} : { user: { linux: latest.user } }),
  };
}

// The request for a container (pkg/kubelet/kuberuntime/kuberuntime_container.go).
import type { Container, Pod } from '#kube/api/generated/core-v1.ts';
import type { ContainerConfig } from '#proto/generated/cri/runtime/v1/ContainerConfig.ts';
import type { Device } from '#proto/generated/cri/runtime/v1/Device.ts';
import type { Mount } from '#proto/generated/cri/runtime/v1/Mount.ts';
import { Signal } from '#proto/generated/cri/runtime/v1/Signal.ts';
import type { UserNamespace } from '#proto/generated/cri/runtime/v1/UserNamespace.ts';
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import { containerResources, type ResourceSettings } from './container-resources.ts';
import { expandVariables } from './expand-variables.ts';
import { containerAnnotations, containerLabels } from './labels.ts';
import { containerLogPath } from './log-paths.ts';
import { containerSecurityContext, type ImageUser, type SecuritySettings } from './security-context.ts';

/** Node settings that containers depend on. */
export interface ContainerSettings {
  resources: ResourceSettings;
  security: SecuritySettings;
}

/** What was prepared for this run of the container. */
export interface ContainerInputs {
  restartCount: number;
  /** The image's id, and the user it names. */
  imageRef: string;
  imageUser: ImageUser;
  environment: ReadonlyMap<string, string>;
  mounts: Mount[];
  devices?: Device[];
  /** The container whose processes an ephemeral container shares. */
  targetId?: string | undefined;
  /** The pod's own users, where it has them. */
  users?: UserNamespace | undefined;
  /** Beyond the definition; its mounts and devices are among those above. */
  extras?: ContainerExtras | undefined;
}

/** The mount with its owners seen through the pod's own users. */
function mapped(mount: Mount, users: UserNamespace | undefined): Mount {
  return { ...mount, uidMappings: users?.uids ?? [], gidMappings: users?.gids ?? [] };
}

/** The signal that asks the container to end, where the definition names one that the runtime interface knows. */
function stopSignal({ lifecycle }: Container): Pick<ContainerConfig, 'stopSignal'> {
  const signal = Object.values(Signal).find((name) => name === lifecycle?.stopSignal);
  return signal === undefined ? {} : { stopSignal: signal };
}

/** Builds the request. Throws RunAsNonRootError. */
export function containerConfig(
  pod: Pod,
  container: Container,
  inputs: ContainerInputs,
  settings: ContainerSettings,
): ContainerConfig {
  const { restartCount, environment } = inputs;
  const expand = (text: string) => expandVariables(text, (name) => environment.get(name));
  const { command = [], args = [] } = container;
  return {
    metadata: { name: container.name, ...(restartCount === 0 ? {} : { attempt: restartCount }) },
    image: { image: inputs.imageRef, userSpecifiedImage: container.image ?? '' },
    ...((command ?? []).length > 0 ? { command: (command ?? []).map(expand) } : {}),
    ...((args ?? []).length > 0 ? { args: (args ?? []).map(expand) } : {}),
    ...(container.workingDir === undefined ? {} : { workingDir: container.workingDir }),
    envs: [...environment].map(([key, value]) => ({ key, value: Buffer.from(value) })),
    mounts: inputs.users === undefined ? inputs.mounts : inputs.mounts.map((mount) => mapped(mount, inputs.users)),
    ...((inputs.devices ?? []).length > 0 ? { devices: inputs.devices } : {}),
    labels: containerLabels(pod, container),
    annotations: { ...inputs.extras?.annotations, ...containerAnnotations(pod, container, restartCount) },
    ...((inputs.extras?.cdiDevices ?? []).length > 0 ? { CDIDevices: inputs.extras?.cdiDevices ?? [] } : {}),
    logPath: containerLogPath(container.name, restartCount),
    ...(container.stdin ? { stdin: true } : {}),
    ...(container.stdinOnce ? { stdinOnce: true } : {}),
    ...(container.tty ? { tty: true } : {}),
    ...stopSignal(container),
    linux: {
      resources: {
        ...containerResources(pod, container, settings.resources),
        ...(inputs.extras?.exclusiveCpus === true && settings.resources.cpuCfsQuota ? { cpuQuota: -1 } : {}),
        ...(inputs.extras?.cpus === undefined ? {} : { cpusetCpus: inputs.extras.cpus }),
        ...(inputs.extras?.memoryNodes === undefined ? {} : { cpusetMems: inputs.extras.memoryNodes }),
      },
      securityContext: containerSecurityContext(pod, container, inputs.imageUser, settings.security, inputs),
    },
  };
}

// What several plugins want one container to be started with, brought together: of two that name the same path, variable
// or annotation the first counts. Pure.
import type { ContainerExtras } from '../resource-manager/hint-provider.ts';
import type { AllocateAnswer } from './device-plugin-client.ts';

/** Adds an answer to what the container is started with. */
export function addAnswer(extras: ContainerExtras, answer: AllocateAnswer): void {
  for (const [name, value] of Object.entries(answer.envs)) extras.environment[name] ??= value;
  for (const [name, value] of Object.entries(answer.annotations)) extras.annotations[name] ??= value;
  for (const { containerPath, hostPath, permissions } of answer.devices) {
    if (extras.devices.some((device) => device.containerPath === containerPath)) continue;
    extras.devices.push({ containerPath, hostPath, permissions: permissions || 'mrw' });
  }
  for (const { containerPath, hostPath, readOnly } of answer.mounts) {
    if (extras.mounts.some((mount) => mount.containerPath === containerPath)) continue;
    extras.mounts.push({ containerPath, hostPath, readonly: readOnly });
  }
  for (const { name } of answer.cdiDevices) {
    if (!extras.cdiDevices.some((device) => device.name === name)) extras.cdiDevices.push({ name });
  }
}

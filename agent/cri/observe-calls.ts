// Times every call to the runtime.
import type { Clock } from '#kube/process/clock.ts';
import type { ImageService } from './image-service.ts';
import type { RuntimeService } from './runtime-service.ts';

/** Told every call that ended: its name as in kubelet's metrics. */
export type ObserveCall = (operation: string, durationMs: number, failed: boolean) => void;

const operations: Record<string, string> = {
  version: 'version',
  status: 'status',
  updateRuntimeConfig: 'update_runtime_config',
  runPodSandbox: 'run_podsandbox',
  stopPodSandbox: 'stop_podsandbox',
  removePodSandbox: 'remove_podsandbox',
  podSandboxStatus: 'podsandbox_status',
  listPodSandbox: 'list_podsandbox',
  createContainer: 'create_container',
  startContainer: 'start_container',
  stopContainer: 'stop_container',
  updateContainerResources: 'update_container',
  removeContainer: 'remove_container',
  listContainers: 'list_containers',
  containerStatus: 'container_status',
  reopenContainerLog: 'reopen_container_log',
  execSync: 'exec_sync',
  exec: 'exec',
  attach: 'attach',
  portForward: 'port_forward',
  checkpointContainer: 'checkpoint_container',
  listContainerStats: 'list_container_stats',
  listImages: 'list_images',
  imageStatus: 'image_status',
  pullImage: 'pull_image',
  removeImage: 'remove_image',
  imageFsInfo: 'image_fs_info',
};

/** The same service; calls that return a stream are not timed. */
export function observeCalls<S extends RuntimeService | ImageService>(
  service: S,
  clock: Clock,
  observe: ObserveCall,
): S {
  return new Proxy(service, {
    get(target, name, receiver) {
      const member: unknown = Reflect.get(target, name, receiver);
      const operation = typeof name === 'string' ? operations[name] : undefined;
      if (operation === undefined || typeof member !== 'function') return member;
      return async (...args: unknown[]) => {
        const startedMs = clock.monotonicMs();
        let failed = true;
        try {
          const answer: unknown = await Reflect.apply(member, target, args);
          failed = false;
          return answer;
        } finally {
          observe(operation, clock.monotonicMs() - startedMs, failed);
        }
      };
    },
  });
}

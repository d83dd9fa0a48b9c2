// Metrics of images: how they were found when containers wanted them, checks of credentials, image volumes.
import { Counter, type Registry } from 'prom-client';

/** How one wish for an image went. */
export interface EnsuredImage {
  policy: string;
  /** `unknown` where the policy does not ask. */
  present: 'true' | 'false' | 'unknown';
  pullRequired: 'true' | 'false' | 'unknown';
}

/** Why a pod may use an image that is there without a pull, or may not. */
export type PullCheck = 'credentialPolicyAllowed' | 'credentialRecordFound' | 'mustAuthenticate' | 'error';

export interface ImageMetrics {
  ensured(image: EnsuredImage): void;
  checked(result: PullCheck): void;
  volumeRequested(): void;
  volumeMounted(failed: boolean): void;
}

/** Registers them; the functions are told what happens. */
export function registerImageMetrics(registry: Registry): ImageMetrics {
  const registers = [registry];
  const counter = (name: string, help: string) => new Counter({ name: `kubelet_${name}`, help, registers });
  const ensured = new Counter({
    name: 'kubelet_image_manager_ensure_image_requests_total',
    help: 'Number of ensure-image requests processed by the kubelet.',
    labelNames: ['present_locally', 'pull_policy', 'pull_required'],
    registers,
  });
  const checks = new Counter({
    name: 'kubelet_imagemanager_image_mustpull_checks_total',
    help: 'Counter for how many times kubelet checked whether credentials need to be re-verified to access an image',
    labelNames: ['result'],
    registers,
  });
  const requested = counter('image_volume_requested_total', 'Number of requested image volumes.');
  const mounted = counter('image_volume_mounted_succeed_total', 'Number of successful image volume mounts.');
  const failures = counter('image_volume_mounted_errors_total', 'Number of failed image volume mounts.');
  return {
    ensured: ({ policy, present, pullRequired }) =>
      ensured.inc({ present_locally: present, pull_policy: policy.toLowerCase(), pull_required: pullRequired }),
    checked: (result) => checks.inc({ result }),
    volumeRequested: () => requested.inc(),
    volumeMounted: (failed) => (failed ? failures : mounted).inc(),
  };
}

// ServiceAccount: every pod runs as an account, with its image pull secrets and, unless refused, a mounted token.
import type { Container, Volume } from '#kube/api/generated/core-v1.ts';
import { pods, serviceaccounts } from '#kube/api/generated/resources.ts';
import { randomSuffix } from '../registry/object-meta.ts';
import { forbidden } from '../registry/status-errors.ts';
import type { AdmissionPlugin } from './plugin.ts';
import { createdPod, isMirrorPod, type PodObject } from './pod-request.ts';

const mountPath = '/var/run/secrets/kubernetes.io/serviceaccount';
const volumePrefix = 'kube-api-access-';
/** A little over an hour: tells mounted tokens from those asked for by hand. */
const tokenSeconds = 3607;

function tokenVolume(name: string): Volume {
  return {
    name,
    projected: {
      sources: [
        { serviceAccountToken: { expirationSeconds: tokenSeconds, path: 'token' } },
        { configMap: { name: 'kube-root-ca.crt', items: [{ key: 'ca.crt', path: 'ca.crt' }] } },
        {
          downwardAPI: {
            items: [{ path: 'namespace', fieldRef: { apiVersion: 'v1', fieldPath: 'metadata.namespace' } }],
          },
        },
      ],
      defaultMode: 0o644,
    },
  };
}

/** Adds the token to every container that has nothing mounted in its place. */
function mountToken(pod: PodObject): void {
  const { spec } = pod;
  const existing = spec.volumes?.find(({ name }) => name.startsWith(volumePrefix));
  const name = existing?.name ?? `${volumePrefix}${randomSuffix()}`;
  let isNeeded = false;
  const mount = (containers: Container[] | undefined) => {
    for (const container of containers ?? []) {
      if (container.volumeMounts?.some((each) => each.mountPath === mountPath)) continue;
      container.volumeMounts = [...(container.volumeMounts ?? []), { name, readOnly: true, mountPath }];
      isNeeded = true;
    }
  };
  mount(spec.initContainers);
  mount(spec.containers);
  if (isNeeded && existing === undefined) spec.volumes = [...(spec.volumes ?? []), tokenVolume(name)];
}

export const serviceAccountAdmission: AdmissionPlugin = {
  name: 'ServiceAccount',
  mutate: (request) => {
    const pod = createdPod(request);
    if (pod === undefined) return;
    const { spec, metadata } = pod;
    if (isMirrorPod(pod)) {
      if ((spec.serviceAccountName ?? '') !== '') {
        throw forbidden(pods, metadata.name, 'a mirror pod may not reference service accounts');
      }
      return;
    }
    if ((spec.serviceAccountName ?? '') === '') spec.serviceAccountName = spec.serviceAccount || 'default';
    const name = spec.serviceAccountName ?? '';
    spec.serviceAccount = name;
    const account = request.objects.get(serviceaccounts, request.namespace, name);
    if (account === undefined) {
      const why = `error looking up service account ${request.namespace}/${name}: serviceaccount ${JSON.stringify(name)} not found`;
      throw forbidden(pods, metadata.name, why);
    }
    if (spec.automountServiceAccountToken ?? account.automountServiceAccountToken ?? true) mountToken(pod);
    if ((spec.imagePullSecrets ?? []).length === 0 && (account.imagePullSecrets ?? []).length > 0) {
      spec.imagePullSecrets = structuredClone(account.imagePullSecrets ?? []);
    }
  },
};

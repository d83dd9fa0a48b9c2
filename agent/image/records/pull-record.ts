// What is remembered of images that the agent pulled: with whose credentials. Kubelet's own record format, so that
// either finds the other's (kubelet.config.k8s.io, ImagePullIntent and ImagePulledRecord). Pure.
import { credentialHash, type ObjectCoordinates, type RegistryCredential } from '../pull-credentials.ts';

export const recordVersion = 'kubelet.config.k8s.io/v1alpha1';

/** A pull secret that opened an image. */
export interface SecretRecord extends ObjectCoordinates {
  credentialHash: string;
}

/** Who may use an image without asking its registry again. */
export interface PullCredentials {
  /** Pulled without credentials, or with the node's: every pod may. */
  nodePodsAccessible?: boolean;
  kubernetesSecrets?: SecretRecord[];
  kubernetesServiceAccounts?: ObjectCoordinates[];
}

/** An image that was pulled; `credentialMapping` is by image name without tag and digest. */
export interface PulledRecord {
  kind: 'ImagePulledRecord';
  apiVersion: string;
  lastUpdatedTime: string;
  imageRef: string;
  credentialMapping?: Record<string, PullCredentials>;
}

function coordinatesOf({ uid, namespace, name }: ObjectCoordinates): ObjectCoordinates {
  return { uid, namespace, name };
}

/** What a pull with these credentials proves; undefined credentials are an anonymous pull. */
export function pullCredentialsOf(used: RegistryCredential | undefined): PullCredentials {
  if (used === undefined || used.origin.type === 'node') return { nodePodsAccessible: true };
  if (used.origin.type === 'serviceAccount') return { kubernetesServiceAccounts: [coordinatesOf(used.origin)] };
  const hash = credentialHash(used.auth);
  return { kubernetesSecrets: [{ ...coordinatesOf(used.origin), credentialHash: hash }] };
}

const isSame = (a: ObjectCoordinates, b: ObjectCoordinates): boolean =>
  a.uid === b.uid && a.namespace === b.namespace && a.name === b.name;

function withNew<T extends ObjectCoordinates>(before: readonly T[] = [], added: readonly T[] = []): T[] {
  return [...before.filter((old) => !added.some((fresh) => isSame(old, fresh))), ...added];
}

function merged(before: PullCredentials, added: PullCredentials): PullCredentials {
  // What every pod may use needs no list of those who may.
  if (before.nodePodsAccessible === true || added.nodePodsAccessible === true) return { nodePodsAccessible: true };
  const secrets = withNew(before.kubernetesSecrets, added.kubernetesSecrets);
  const accounts = withNew(before.kubernetesServiceAccounts, added.kubernetesServiceAccounts);
  return {
    ...(secrets.length === 0 ? {} : { kubernetesSecrets: secrets }),
    ...(accounts.length === 0 ? {} : { kubernetesServiceAccounts: accounts }),
  };
}

/** The record after a pull of `repository`; without credentials it says only that the agent pulled the image. */
export function withPull(
  record: PulledRecord | undefined,
  imageRef: string,
  repository: string,
  credentials: PullCredentials | undefined,
  time: string,
): PulledRecord {
  const mapping = record?.credentialMapping ?? {};
  const before = mapping[repository] ?? {};
  return {
    kind: 'ImagePulledRecord',
    apiVersion: recordVersion,
    lastUpdatedTime: time,
    imageRef,
    credentialMapping: credentials === undefined ? mapping : { ...mapping, [repository]: merged(before, credentials) },
  };
}

/** How a pod is let to an image by its record: `renew` says that the record should learn the pod's secret. */
export interface AccessDecision {
  allowed: boolean;
  renew?: PullCredentials;
}

/** Whether one of a pod's credentials has opened the image before (pullmanager, MustAttemptImagePull). */
export function decideAccess(
  record: PulledRecord | undefined,
  repository: string,
  credentials: readonly RegistryCredential[],
): AccessDecision {
  const known = record?.credentialMapping?.[repository];
  if (known === undefined) return { allowed: false };
  if (known.nodePodsAccessible === true) return { allowed: true };
  for (const credential of credentials) {
    const own = pullCredentialsOf(credential);
    for (const secret of own.kubernetesSecrets ?? []) {
      for (const opened of known.kubernetesSecrets ?? []) {
        const sameHash = opened.credentialHash !== '' && opened.credentialHash === secret.credentialHash;
        const samePlace = isSame(opened, secret);
        if (!sameHash && !samePlace) continue;
        return sameHash && samePlace ? { allowed: true } : { allowed: true, renew: own };
      }
    }
    for (const account of own.kubernetesServiceAccounts ?? []) {
      if (known.kubernetesServiceAccounts?.some((opened) => isSame(opened, account)) === true) return { allowed: true };
    }
  }
  return { allowed: false };
}

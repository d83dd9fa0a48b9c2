// Clients of the parts that run beside the API server: over loopback HTTPS, each under the identity that its role
// is bound to. Certificates of controllers are issued in memory when first needed.

import { type Credentials, fixedCredentials, type RequestObserver } from '#kube/client/config.ts';
import { createClient } from '#kube/client/create-client.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { serviceAccountGroups } from './authn/impersonation.ts';
import { type ClusterPki, issueClientCertificate, type KeyPair } from './pki/index.ts';

export interface InProcessClients {
  controllerManager: ApiClient;
  scheduler: ApiClient;
  /** Identifies as the controller's service account in kube-system. */
  forController(name: string): ApiClient;
  close(): Promise<void>;
}

const controllerNamespace = 'kube-system';

/** Issues the certificate at the first request, and again long before it ends. */
function lazyCredentials(issue: () => Promise<KeyPair>): Credentials {
  let issued: Promise<KeyPair> | undefined;
  return {
    current: async () => {
      issued ??= issue();
      return { certificate: await issued };
    },
    rejected: () => {
      issued = undefined;
    },
  };
}

export function createInProcessClients(
  server: string,
  pki: ClusterPki,
  clock: Clock,
  observer?: RequestObserver,
): InProcessClients {
  const made: ApiClient[] = [];
  const open = (name: string, credentials: Credentials): ApiClient => {
    const client = createClient({ servers: [server], caPem: pki.ca.certPem, credentials, name, clock, observer });
    made.push(client);
    return client;
  };
  const forController = (name: string): ApiClient => {
    const subject = {
      commonName: `system:serviceaccount:${controllerNamespace}:${name}`,
      organizations: serviceAccountGroups(controllerNamespace),
    };
    return open(
      name,
      lazyCredentials(() => issueClientCertificate(pki, subject, clock.now())),
    );
  };
  return {
    controllerManager: open('kube-controller-manager', fixedCredentials({ certificate: pki.controllerManager })),
    scheduler: open('kube-scheduler', fixedCredentials({ certificate: pki.scheduler })),
    forController,
    close: async () => {
      await Promise.all(made.map((client) => client.close()));
    },
  };
}

// Constructs all controllers on one set of informers and runs them together.
import type { Logger } from 'pino';
import type { KubeObject } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { createEventRecorder } from '#kube/events/event-recorder.ts';
import type { Informer } from '#kube/informer/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import { type Component, runGroup } from '#kube/process/component.ts';
import type { QueueObserver } from '#kube/queue/work-queue.ts';
import { createLocalVolumeProvisioner } from '../addons/local-volumes/local-volume-provisioner.ts';
import { localProvisioner } from '../addons/local-volumes/storage-class.ts';
import { createAttachDetachController } from './attach-detach/attach-detach-controller.ts';
import { createBootstrapSigner } from './bootstrap-tokens/bootstrap-signer.ts';
import { createTokenCleaner } from './bootstrap-tokens/token-cleaner.ts';
import { createCertificateController } from './certificates/certificate-controller.ts';
import type { Controller, ControllerContext } from './controller.ts';
import type { ControllersConfig } from './controllers-config.ts';
import { createCronJobController } from './cronjob/cronjob-controller.ts';
import { createDaemonSetController } from './daemonset/daemonset-controller.ts';
import { createDeploymentController } from './deployment/deployment-controller.ts';
import { createDisruptionController } from './disruption/disruption-controller.ts';
import { createEndpointSliceController } from './endpoint-slice/endpoint-slice-controller.ts';
import { createEndpointSliceMirroringController } from './endpoint-slice-mirroring/endpoint-slice-mirroring-controller.ts';
import { createEndpointsController } from './endpoints/endpoints-controller.ts';
import { createEphemeralVolumeController } from './ephemeral-volume/ephemeral-volume-controller.ts';
import { createGarbageCollector } from './garbage-collector/garbage-collector.ts';
import { createHorizontalPodAutoscalerController } from './horizontal-pod-autoscaler/horizontal-pod-autoscaler-controller.ts';
import { createJobController } from './job/job-controller.ts';
import { createTtlAfterFinishedController } from './job/ttl-after-finished-controller.ts';
import { createNamespaceController } from './namespace/namespace-controller.ts';
import { createNodeIpamController } from './node-ipam/node-ipam-controller.ts';
import { createNodeLifecycleController, defaultHeartbeatLimits } from './node-lifecycle/node-lifecycle-controller.ts';
import type { HeartbeatLimits } from './node-lifecycle/plan-heartbeat.ts';
import { createTaintEvictionController } from './node-lifecycle/taint-eviction-controller.ts';
import { createPersistentVolumeBinder } from './persistent-volume-binder/persistent-volume-binder.ts';
import { createPodGarbageCollector } from './pod-garbage-collector/pod-garbage-collector.ts';
import { type ReplicaKind, replicaSetKind, replicationControllerKind } from './replicaset/replica-kind.ts';
import { createReplicaSetController } from './replicaset/replicaset-controller.ts';
import { createResourceClaimController } from './resource-claim/resource-claim-controller.ts';
import { createRootCaPublisher } from './root-ca-publisher/root-ca-publisher.ts';
import { createServiceAccountController } from './service-account/service-account-controller.ts';
import { createTokenSecretController } from './service-account/token-secret-controller.ts';
import { createServiceCidrController } from './service-cidr/service-cidr-controller.ts';
import { createServiceLoadBalancerController } from './service-load-balancer/service-load-balancer-controller.ts';
import {
  createSharedInformers,
  informersSynced,
  runInformers,
  type SharedInformers,
  wholeInformers,
} from './shared-informers.ts';
import { createStatefulSetController } from './statefulset/statefulset-controller.ts';

import { createVolumeExpander } from './volume-expander/volume-expander.ts';

export interface ControllersDeps {
  /** For the informers: identifies as system:kube-controller-manager. */
  sharedClient: ApiClient;
  /** For a controller's writes: identifies as its service account in kube-system. */
  clientFor(controller: string): ApiClient;
  logger: Logger;
  clock: Clock;
  /** Published to every namespace as kube-root-ca.crt. */
  rootCaPem: string;
  /** Nodes get their pod ranges from it. */
  clusterCidr: string;
  /** Silence after which a node counts as lost; upstream's where absent. */
  heartbeatLimits?: HeartbeatLimits;
  /** Signs certificate requests; without it they stay unsigned. */
  signingCa?: { certPem: string; keyPem: string };
  /** Folder of every node for volumes of the local class. */
  localVolumeDir?: string | undefined;
  settings: ControllersConfig;
  queueObserver?: (name: string) => QueueObserver;
}

/** All controllers, and the informers they run, which others in the process may read too. */
export interface Controllers extends Component {
  readonly informers: SharedInformers;
}

/** Everything runs in the process of the caller; nothing is started before `run`. */
export function createControllers(deps: ControllersDeps): Controllers {
  const { sharedClient, clock } = deps;
  const logger = deps.logger.child({ component: 'controllers' });
  const informers = createSharedInformers({ client: sharedClient, clock, logger });
  const ready = Promise.withResolvers<void>();
  const ended = new AbortController();

  /** `component` is the name in events; upstream's where it differs from the service account's. */
  function contextFor(name: string, component = name): ControllerContext {
    const client = deps.clientFor(name);
    const own = logger.child({ controller: name });
    const recorder = createEventRecorder({ client, component, host: '', clock, logger: own, signal: ended.signal });
    return { name, informers, client, recorder, clock, logger: own, queueObserver: deps.queueObserver?.(name) };
  }

  function replicas<T extends KubeObject>(
    name: string,
    kindOf: (client: ApiClient, informer: Informer<T>) => ReplicaKind,
    informer: Informer<T>,
  ): Controller {
    const context = contextFor(name);
    return createReplicaSetController(context, kindOf(context.client, informer));
  }

  const controllers: Controller[] = [
    createServiceAccountController(contextFor('service-account-controller')),
    createTokenSecretController(contextFor('service-account-controller'), sharedClient, deps.rootCaPem),
    createRootCaPublisher(contextFor('root-ca-cert-publisher'), deps.rootCaPem),
    createBootstrapSigner(contextFor('bootstrap-signer')),
    createTokenCleaner(contextFor('token-cleaner')),
    createNodeIpamController(contextFor('node-controller'), deps.clusterCidr, deps.settings.nodePrefix),
    createNodeLifecycleController(contextFor('node-controller'), deps.heartbeatLimits ?? defaultHeartbeatLimits),
    createTaintEvictionController(contextFor('node-controller', 'taint-eviction-controller')),
    createServiceCidrController(contextFor('service-cidrs-controller')),
    createEndpointSliceController(contextFor('endpointslice-controller', 'endpoint-slice-controller')),
    createEndpointsController(contextFor('endpoint-controller')),
    createEndpointSliceMirroringController(contextFor('endpointslicemirroring-controller')),
    replicas('replicaset-controller', replicaSetKind, informers.replicasets),
    replicas('replication-controller', replicationControllerKind, informers.replicationcontrollers),
    createDeploymentController(contextFor('deployment-controller')),
    createDaemonSetController(contextFor('daemon-set-controller', 'daemonset-controller')),
    createStatefulSetController(contextFor('statefulset-controller')),
    createJobController(contextFor('job-controller')),
    createCronJobController(contextFor('cronjob-controller'), sharedClient),
    createTtlAfterFinishedController(contextFor('ttl-after-finished-controller')),
    createDisruptionController(contextFor('disruption-controller'), sharedClient),
    createHorizontalPodAutoscalerController(
      contextFor('horizontal-pod-autoscaler'),
      sharedClient,
      deps.settings.autoscalerPeriodMs,
    ),
    createPodGarbageCollector(contextFor('pod-garbage-collector')),
    createPersistentVolumeBinder(contextFor('persistent-volume-binder', 'persistentvolume-controller')),
    createEphemeralVolumeController(contextFor('ephemeral-volume-controller', 'ephemeral_volume')),
    createResourceClaimController(contextFor('resource-claim-controller', 'resource_claim'), sharedClient),
    createAttachDetachController(contextFor('attachdetach-controller')),
    createVolumeExpander(contextFor('expand-controller', 'volume_expand')),
    createNamespaceController(contextFor('namespace-controller')),
    createGarbageCollector(contextFor('generic-garbage-collector'), {
      sharedClient,
      shared: wholeInformers(informers),
    }),
  ];

  if (deps.signingCa !== undefined) {
    const context = contextFor('certificate-controller');
    controllers.push(createCertificateController(context, sharedClient, deps.signingCa));
  }

  if (deps.localVolumeDir !== undefined) {
    const context = contextFor('persistent-volume-binder', localProvisioner);
    controllers.push(createLocalVolumeProvisioner(context, deps.localVolumeDir));
  }

  if (deps.settings.loadBalancerPool.length > 0) {
    const context = contextFor('service-controller');
    controllers.push(createServiceLoadBalancerController(context, deps.settings.loadBalancerPool));
  }

  async function runControllers(signal: AbortSignal): Promise<void> {
    const aborted = Promise.withResolvers<void>();
    signal.addEventListener('abort', () => aborted.resolve(), { once: true });
    await Promise.race([informersSynced(informers), aborted.promise]);
    if (signal.aborted) return;
    ready.resolve();
    await runGroup(controllers, signal);
  }

  return {
    informers,
    ready: ready.promise,
    run: async (signal) => {
      try {
        await runGroup([{ run: async (inner) => runInformers(informers, inner) }, { run: runControllers }], signal);
      } finally {
        ended.abort();
      }
    },
  };
}

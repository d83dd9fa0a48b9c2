// Aggregation: APIs that other servers serve behind this one. Requests are passed on, documents are merged, and each
// APIService is told whether it can be used.

import type { Duplex } from 'node:stream';
import { isDeepStrictEqual } from 'node:util';
import type { Logger } from 'pino';
import { apiservices, endpointslices, services } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { isConflict, isNotFound } from '#kube/errors/status-error.ts';
import { createCoalescedRun } from '#kube/queue/coalesced-run.ts';
import type { KeyPair } from '../../pki/certificate-authority.ts';
import { timestamp } from '../../registry/object-meta.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import type { DiscoveredResource, RemoteResources } from '../../registry/resource-table.ts';
import { updateObject } from '../../registry/verbs/update.ts';
import { type Exchange, sendText } from '../http/exchange.ts';
import { lifetimeOf } from '../http/exchange-lifetime.ts';
import { copyAnswer, forwardUpgrade, requestBackend } from '../proxy/forward.ts';
import { aggregatorUser, askRemote } from './ask-remote.ts';
import { type Availability, computeServiceFault, judgeAnswer } from './availability.ts';
import { syncLocalApiServices } from './local-api-services.ts';
import { followRemoteApis, type RemoteApi } from './remote-api.ts';
import { type OpenApiV2, openApiUrlOf, parseOpenApiV2, parseResourceList } from './remote-documents.ts';
import { remoteTarget } from './remote-target.ts';

export interface AggregatorDeps {
  registry: Registry;
  client: KeyPair;
  logger: Logger;
  stopping: AbortSignal;
  /** The context of the server's own writes. */
  context(): RequestContext;
  /** What this server serves beside its registry, by group version, unless another server does. */
  own?: RemoteResources;
}

export interface Aggregator {
  /** Passes a request on; false for what this server serves by itself. */
  serve(exchange: Exchange): Promise<boolean>;
  upgrade(exchange: Exchange, socket: Duplex, head: Buffer): Promise<boolean>;
  /** Addresses of OpenAPI v3 documents of other servers, by their place in the index. */
  openApiV3(): ReadonlyMap<string, string>;
  openApiV2(): readonly OpenApiV2[];
  /** Looks at all APIServices again; called now and then, and after changes. */
  sync(): Promise<void>;
  follow(): void;
}

interface Known {
  resources: DiscoveredResource[];
  openApiUrl: string | undefined;
  openApiV2: OpenApiV2 | undefined;
}

/** The group version that a path is below: `apis/GROUP/VERSION/…`. */
function groupVersionOf(path: string): string | undefined {
  const [, apis, group = '', version = ''] = path.split('/');
  if (apis === 'apis' && version !== '') return `${group}/${version}`;
  const match = /^\/openapi\/v3\/apis\/([^/]+\/[^/]+)$/.exec(path);
  return match?.[1];
}

export function createAggregator(deps: AggregatorDeps): Aggregator {
  const { registry, client, logger, stopping, context, own = new Map() } = deps;
  const remotes = followRemoteApis(registry);
  const known = new Map<string, Known>();
  const find = ({ info }: Exchange): RemoteApi | undefined => {
    if (remotes().length === 0) return undefined;
    const wanted = groupVersionOf(info.path);
    return wanted === undefined ? undefined : remotes().find(({ groupVersion }) => groupVersion === wanted);
  };
  const targetOf = (api: RemoteApi, { request, user }: Exchange) =>
    remoteTarget(api, registry.objects, client, request.url ?? '/', user);

  const ask = async (api: RemoteApi, path: string, accept = 'application/json') =>
    await askRemote(remoteTarget(api, registry.objects, client, path, aggregatorUser), accept, stopping);

  const check = async (api: RemoteApi): Promise<Availability> => {
    const fault = computeServiceFault(api, registry.objects);
    if (fault !== undefined) return fault;
    const path = `/apis/${api.groupVersion}`;
    const url = new URL(path, `https://${api.service.name}.${api.service.namespace}.svc:${api.service.port}`);
    try {
      const answer = await ask(api, path);
      const verdict = judgeAnswer(url, answer);
      const resources = verdict.status === 'True' ? parseResourceList(answer.text) : undefined;
      if (resources !== undefined) await learn(api, resources);
      return verdict;
    } catch (error) {
      return judgeAnswer(url, error instanceof Error ? error : new Error(String(error)));
    }
  };

  const learn = async (api: RemoteApi, resources: DiscoveredResource[]): Promise<void> => {
    const read = async <T>(path: string, parse: (text: string) => T | undefined): Promise<T | undefined> => {
      const answer = await ask(api, path).catch(() => undefined);
      return answer?.code === 200 ? parse(answer.text) : undefined;
    };
    known.set(api.groupVersion, {
      resources,
      openApiUrl: await read('/openapi/v3', (text) => openApiUrlOf(text, api.groupVersion)),
      openApiV2: await read('/openapi/v2', parseOpenApiV2),
    });
  };

  const tell = async ({ name }: RemoteApi, verdict: Availability): Promise<void> => {
    const served = registry.table.get(apiservices);
    const { nowMs } = context();
    const change = (current: KubeObject): KubeObject => {
      const { status } = current as KubeObject & {
        status?: { conditions?: { type: string; status: string; lastTransitionTime?: string }[] };
      };
      const conditions = status?.conditions ?? [];
      const previous = conditions.find(({ type }) => type === 'Available');
      const lastTransitionTime = previous?.status === verdict.status ? previous.lastTransitionTime : timestamp(nowMs);
      const condition = { type: 'Available', ...verdict, lastTransitionTime };
      return {
        ...current,
        status: { ...status, conditions: [...conditions.filter(({ type }) => type !== 'Available'), condition] },
      } as KubeObject;
    };
    try {
      await updateObject(
        registry,
        served,
        { namespace: '', name, subresource: 'status', change, isPatch: true },
        context(),
      );
    } catch (error) {
      if (!isNotFound(error) && !isConflict(error)) throw error;
    }
  };

  let published: readonly unknown[] = [];
  const publish = (): void => {
    const next = new Map(
      remotes().flatMap(({ groupVersion }) => {
        const found = known.get(groupVersion);
        return found === undefined ? [] : [[groupVersion, found.resources] as const];
      }),
    );
    for (const [groupVersion, resources] of own) {
      if (!remotes().some((api) => api.groupVersion === groupVersion)) next.set(groupVersion, resources);
    }
    for (const groupVersion of [...known.keys()]) {
      if (!remotes().some((api) => api.groupVersion === groupVersion)) known.delete(groupVersion);
    }
    const state = [...next].map(([groupVersion, resources]) => [
      groupVersion,
      resources,
      known.get(groupVersion)?.openApiUrl,
    ]);
    if (isDeepStrictEqual(state, published)) return;
    published = state;
    registry.table.setRemote(next);
  };

  const syncOnce = async (): Promise<void> => {
    await syncLocalApiServices(registry, [...own.keys()], context());
    await Promise.all(remotes().map(async (api) => await tell(api, await check(api))));
    publish();
  };

  const run = createCoalescedRun(syncOnce, (error) => {
    if (!stopping.aborted) logger.warn({ err: error }, 'could not look after the aggregated APIs');
  });
  stopping.addEventListener('abort', run.stop, { once: true });

  return {
    serve: async (exchange) => {
      const api = find(exchange);
      if (api === undefined) return false;
      if (!api.isAvailable) {
        sendText(exchange, 503, 'service unavailable\n');
        return true;
      }
      const answer = await requestBackend(exchange.request, targetOf(api, exchange), lifetimeOf(exchange, stopping));
      await copyAnswer(answer, exchange.response);
      return true;
    },
    upgrade: async (exchange, socket, head) => {
      const api = find(exchange);
      if (api === undefined) return false;
      if (!api.isAvailable) {
        sendText(exchange, 503, 'service unavailable\n');
        return true;
      }
      const answer = await forwardUpgrade(
        exchange.request,
        socket,
        head,
        targetOf(api, exchange),
        lifetimeOf(exchange, stopping),
      );
      if (answer !== undefined) await copyAnswer(answer, exchange.response);
      return true;
    },
    openApiV3: () =>
      new Map(
        [...known].flatMap(([groupVersion, { openApiUrl }]) =>
          openApiUrl === undefined ? [] : [[`apis/${groupVersion}`, openApiUrl]],
        ),
      ),
    openApiV2: () => [...known.values()].flatMap(({ openApiV2 }) => openApiV2 ?? []),
    sync: run.now,
    follow: () => {
      registry.cache.onChange(registry.table.get(apiservices).storagePrefix, ({ type, entry, previous }) => {
        const specOf = (value: Buffer | undefined) =>
          value === undefined ? undefined : (JSON.parse(value.toString()) as { spec?: unknown }).spec;
        if (type === 'delete' || !isDeepStrictEqual(specOf(entry.value), specOf(previous?.value))) run.soon();
      });
      for (const resource of [services, endpointslices]) {
        registry.cache.onChange(registry.table.get(resource).storagePrefix, ({ entry }) => {
          if (remotes().some(({ service }) => entry.key.includes(`/${service.namespace}/${service.name}`))) run.soon();
        });
      }
      run.soon();
    },
  };
}

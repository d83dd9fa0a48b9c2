// What a pod waits for, and the order to try again at once; behind `berth explain pod` and `berth retry pod`.
import type { FastifyInstance, FastifyReply } from 'fastify';
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { Explanation } from '../../explain/explanation.ts';
import type { NodeView } from '../node-view.ts';

export interface ExplainRouteOptions {
  view: NodeView;
  explain(pod: Pod, signal: AbortSignal): Promise<Explanation>;
  retry(podUid: string): void;
}

interface PodPath {
  namespace: string;
  pod: string;
}

/** Registers the routes. */
export function explainRoutes(server: FastifyInstance, { view, explain, retry }: ExplainRouteOptions): void {
  const missing = (reply: FastifyReply) => reply.code(404).type('text/plain').send('pod does not exist\n');
  server.get<{ Params: PodPath }>('/explain/:namespace/:pod', (request, reply) => {
    const pod = view.findPod(request.params.namespace, request.params.pod);
    return pod === undefined ? missing(reply) : explain(pod, request.signal);
  });
  server.get('/explain', (request) => Promise.all(view.pods().map((pod) => explain(pod, request.signal))));
  server.post<{ Params: PodPath }>('/retry/:namespace/:pod', (request, reply) => {
    const pod = view.findPod(request.params.namespace, request.params.pod);
    if (pod === undefined) return missing(reply);
    retry(pod.metadata.uid ?? '');
    return { namespace: pod.metadata.namespace, name: pod.metadata.name };
  });
}

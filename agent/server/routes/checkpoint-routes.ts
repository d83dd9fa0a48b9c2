// /checkpoint: the state of a running container as an archive on the node, made by the runtime
// (pkg/kubelet/server/server.go: checkpoint).
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { isCriUnimplemented } from '../../cri/cri-error.ts';
import type { RuntimeService } from '../../cri/runtime-service.ts';
import type { NodeView } from '../node-view.ts';

interface CheckpointPath {
  namespace: string;
  pod: string;
  container: string;
}

export interface CheckpointRouteOptions {
  view: NodeView;
  runtime: Pick<RuntimeService, 'checkpointContainer'>;
  rootDir: string;
  now(): number;
}

/** Registers the route. */
export function checkpointRoutes(server: FastifyInstance, options: CheckpointRouteOptions): void {
  const { view, runtime } = options;
  server.post<{ Params: CheckpointPath; Querystring: { timeout?: string } }>(
    '/checkpoint/:namespace/:pod/:container',
    async (request, reply) => {
      const { namespace, pod: podName, container } = request.params;
      const { timeout = '0' } = request.query;
      const answer = (status: number, text: string) => reply.code(status).type('text/plain').send(text);
      const pod = view.findPod(namespace, podName);
      if (pod === undefined) return answer(404, 'pod does not exist\n');
      const runs = view.runtimeOf(pod.metadata.uid ?? '')?.containers ?? [];
      const run = runs.find(({ name, state }) => name === container && state === 'running');
      if (run === undefined) return answer(404, `container ${container} does not exist\n`);
      if (!/^\d{1,9}$/.test(timeout)) return answer(400, 'cannot parse value of timeout parameter\n');
      const folder = join(options.rootDir, 'checkpoints');
      const time = new Date(options.now()).toISOString().replace(/\.\d+Z$/, 'Z');
      const location = join(folder, `checkpoint-${podName}_${namespace}-${container}-${time}.tar`);
      await mkdir(folder, { recursive: true, mode: 0o700 });
      try {
        await runtime.checkpointContainer(run.id, location, Number(timeout));
      } catch (error) {
        const text = `checkpointing of ${namespace}/${podName}/${container} failed (${(error as Error).message})\n`;
        return answer(isCriUnimplemented(error) ? 404 : 500, text);
      }
      return { items: [location] };
    },
  );
}

// /metrics/groups: what each group of collectors costs, and the switch of each.
import type { FastifyInstance } from 'fastify';
import type { MetricGroups } from '../../stats/metric-groups.ts';

/** Registers the routes. Switching needs another verb than reading, so that scrapers cannot. */
export function metricGroupRoutes(server: FastifyInstance, groups: MetricGroups, switches: boolean): void {
  server.get('/metrics/groups', () => ({ groups: groups.prices() }));
  if (!switches) return;
  server.put<{ Params: { group: string }; Querystring: { enabled?: string } }>(
    '/metrics/groups/:group',
    async (request, reply) => {
      const { enabled } = request.query;
      if (enabled !== 'true' && enabled !== 'false') {
        return reply.code(400).type('text/plain').send('enabled takes true or false\n');
      }
      if (!groups.set(request.params.group, enabled === 'true')) {
        return reply.code(404).type('text/plain').send('there is no such group, or it cannot be switched\n');
      }
      await groups.saved();
      return reply.send({ groups: groups.prices() });
    },
  );
}

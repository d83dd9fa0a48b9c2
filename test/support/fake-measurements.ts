// What an agent would measure, for nodes without containers: an HTTPS server with /metrics/resource of which a test
// says how much the pods use.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import { nodes, pods } from '#kube/api/generated/resources.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { startTlsServer } from './tls-server.ts';

export interface FakeMeasurements {
  /** What every pod of the node uses from now on: billionths of a processor are counted up, memory is as it is. */
  use(cores: number, memoryBytes: number): void;
  close(): Promise<void>;
}

/** Tells the API server that the node's agent is here, and answers for all pods of the node. */
export async function startFakeMeasurements(client: ApiClient, nodeName: string): Promise<FakeMeasurements> {
  const startedMs = Date.now();
  let now = { cores: 0.1, memoryBytes: 1 << 20 };
  let countedMs = startedMs;
  let cpuSeconds = 1;
  const count = () => {
    const atMs = Date.now();
    cpuSeconds += ((atMs - countedMs) / 1000) * now.cores;
    countedMs = atMs;
  };
  const linesOf = ({ metadata, spec }: Pod): string[] =>
    (spec?.containers ?? []).flatMap(({ name }) => {
      const labels = `{container="${name}",namespace="${metadata.namespace}",pod="${metadata.name}"}`;
      return [
        `container_cpu_usage_seconds_total${labels} ${cpuSeconds} ${countedMs}`,
        `container_memory_working_set_bytes${labels} ${now.memoryBytes} ${countedMs}`,
        `container_start_time_seconds${labels} ${Date.parse(metadata.creationTimestamp ?? '') / 1000}`,
      ];
    });
  const server = await startTlsServer({
    handle: async (request, response) => {
      if (request.url !== '/metrics/resource') {
        response.writeHead(404).end();
        return;
      }
      count();
      const { items } = await client.list(pods, { fieldSelector: `spec.nodeName=${nodeName}` });
      const own = [
        `node_cpu_usage_seconds_total ${cpuSeconds * 2} ${countedMs}`,
        `node_memory_working_set_bytes ${now.memoryBytes * 4} ${countedMs}`,
      ];
      response.end(`${[...own, ...items.flatMap(linesOf)].join('\n')}\n`);
    },
  });
  const status = {
    addresses: [{ type: 'InternalIP', address: '127.0.0.1' }],
    daemonEndpoints: { kubeletEndpoint: { Port: server.port } },
  };
  await client.patch(nodes, { name: nodeName }, 'strategic', { status }, { subresource: 'status' });
  return {
    use: (cores, memoryBytes) => {
      count();
      now = { cores, memoryBytes };
    },
    close: () => server.close(),
  };
}

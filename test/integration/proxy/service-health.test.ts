import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { describe, it } from 'node:test';
import { pino } from 'pino';
import { createServiceHealthServers } from '../../../proxy/health/service-health.ts';
import { eventually } from '../../support/eventually.ts';

const logger = pino({ level: 'silent' });

describe('health check node ports', () => {
  it('answer as load balancers expect, follow the service to another port, and end with the signal', async () => {
    const reserve = async (): Promise<number> => {
      const server = createServer().listen(0, '127.0.0.1');
      await new Promise((resolve) => server.once('listening', resolve));
      const address = server.address();
      await new Promise((resolve) => server.close(resolve));
      return typeof address === 'object' && address !== null ? address.port : assert.fail();
    };
    const [first, second] = [await reserve(), await reserve()];
    let proxyHealthy = true;
    const servers = createServiceHealthServers({ hosts: ['127.0.0.1'], proxyHealthy: () => proxyHealthy, logger });
    const stop = new AbortController();
    const say = (port: number, localEndpoints: number): void =>
      servers.set('demo/lb', { serviceKey: 'demo/lb', port, localEndpoints });
    say(first, 2);
    const done = servers.run(stop.signal);
    const ask = (port: number) => fetch(`http://127.0.0.1:${port}/healthz`, { headers: { connection: 'close' } });
    try {
      const answer = await eventually('the health check port answers', () => ask(first));
      assert.equal(answer.status, 200);
      assert.equal(answer.headers.get('x-load-balancing-endpoint-weight'), '2');
      assert.deepEqual(await answer.json(), {
        service: { namespace: 'demo', name: 'lb' },
        localEndpoints: 2,
        serviceProxyHealthy: true,
      });
      say(first, 0);
      assert.equal((await ask(first)).status, 503, 'no endpoint here');
      say(first, 1);
      proxyHealthy = false;
      assert.equal((await ask(first)).status, 503, 'old rules');
      proxyHealthy = true;
      say(second, 1);
      assert.equal((await eventually('the other port answers', () => ask(second))).status, 200);
      await assert.rejects(ask(first));
    } finally {
      stop.abort();
      await done;
    }
    await assert.rejects(ask(second));
  });
});

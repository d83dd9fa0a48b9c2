import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { configmaps, pods } from '#kube/api/generated/resources.ts';
import { type ClientConfig, type FinishedRequest, fixedCredentials } from '#kube/client/config.ts';
import { createClient } from '#kube/client/create-client.ts';
import type { ApiClient } from '#kube/client/types.ts';
import { isNotFound, StatusError } from '#kube/errors/status-error.ts';

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

type Answer = (request: Seen, response: ServerResponse) => void;

/** Runs `use` against a server that answers with `answers` in turn, the last one for ever. */
async function withServer(
  answers: Answer[],
  use: (client: ApiClient, seen: Seen[], url: string) => Promise<void>,
  config: Partial<ClientConfig> = {},
): Promise<void> {
  const seen: Seen[] = [];
  const server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on('data', (chunk: Buffer) => chunks.push(chunk));
    request.on('end', () => {
      const { method = '', url = '', headers } = request;
      const entry = { method, url, headers, body: Buffer.concat(chunks).toString() };
      seen.push(entry);
      (answers[seen.length - 1] ?? answers.at(-1))?.(entry, response);
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const client = createClient({ servers: [url], ...config });
  try {
    await use(client, seen, url);
  } finally {
    await client.close();
    server.closeAllConnections();
    server.close();
  }
}

function json(code: number, body: unknown, headers: Record<string, string> = {}): Answer {
  return (_, response) => {
    response.writeHead(code, { 'content-type': 'application/json', ...headers });
    response.end(JSON.stringify(body));
  };
}

const pod = { metadata: { name: 'p', namespace: 'n' } };

test('puts kind, version and query where the API wants them', async () => {
  await withServer([json(200, pod)], async (client, seen) => {
    await client.create(configmaps, 'n', { metadata: { name: 'c' } }, { dryRun: true, fieldManager: 'me' });
    await client.get(pods, { namespace: 'n', name: 'p' });
    await client.patch(pods, { namespace: 'n', name: 'p' }, 'apply', pod, { subresource: 'status', force: true });
    assert.equal(seen[0]?.url, '/api/v1/namespaces/n/configmaps?dryRun=All&fieldManager=me');
    assert.deepEqual(JSON.parse(seen[0]?.body ?? ''), { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'c' } });
    assert.equal(seen[1]?.url, '/api/v1/namespaces/n/pods/p');
    assert.equal(seen[2]?.url, '/api/v1/namespaces/n/pods/p/status?force=true');
    assert.equal(seen[2]?.headers['content-type'], 'application/apply-patch+yaml');
    assert.match(seen[2]?.headers['user-agent'] ?? '', /^berth\/\d/);
  });
});

test('throws the Status that the server answers', async () => {
  const status = { kind: 'Status', status: 'Failure', reason: 'NotFound', message: 'pods "p" not found', code: 404 };
  await withServer([json(404, status)], async (client) => {
    await assert.rejects(client.get(pods, { namespace: 'n', name: 'p' }), (error) => {
      assert.ok(isNotFound(error));
      return (error as Error).message === 'pods "p" not found';
    });
  });
});

test('makes a Status of an answer that is none', async () => {
  const page: Answer = (_, response) => response.writeHead(502).end('bad gateway');
  await withServer([page], async (client) => {
    await assert.rejects(client.get(pods, { namespace: 'n', name: 'p' }), (error) => {
      return error instanceof StatusError && error.httpCode === 502 && /bad gateway/.test(error.message);
    });
  });
});

test('tries again when the server says when, whatever the verb', async () => {
  const busy = json(429, { kind: 'Status', code: 429 }, { 'retry-after': '0' });
  await withServer([busy, busy, json(201, pod)], async (client, seen) => {
    await client.create(pods, 'n', { metadata: { name: 'p' }, spec: { containers: [] } });
    assert.equal(seen.length, 3);
  });
});

test('does not try a 500 again without Retry-After', async () => {
  await withServer([json(500, {})], async (client, seen) => {
    await assert.rejects(client.get(pods, { namespace: 'n', name: 'p' }));
    assert.equal(seen.length, 1);
  });
});

test('repeats a read whose connection broke, never a write', async () => {
  const cut: Answer = (_, response) => void response.socket?.destroy();
  await withServer([cut, json(200, pod), cut], async (client, seen) => {
    await client.get(pods, { namespace: 'n', name: 'p' });
    assert.equal(seen.length, 2);
    await assert.rejects(client.create(configmaps, 'n', { metadata: { name: 'c' } }));
    assert.equal(seen.length, 3);
  });
});

test('goes to the next server when one cannot be reached', async () => {
  await withServer([json(200, pod)], async (_, seen, url) => {
    const client = createClient({ servers: ['http://127.0.0.1:1', url] });
    await client.create(configmaps, 'n', { metadata: { name: 'c' } });
    await client.get(pods, { namespace: 'n', name: 'p' });
    await client.close();
    assert.equal(seen.length, 2);
  });
});

test('leaves a server that cannot serve, and repeats only what changes nothing', async () => {
  await withServer([json(200, pod)], async (_, seen, url) => {
    for (const code of [502, 503, 504]) {
      await withServer([json(code, {})], async (__, refused, first) => {
        const client = createClient({ servers: [first, url] });
        await assert.rejects(client.create(configmaps, 'n', { metadata: { name: 'c' } }), StatusError);
        assert.equal(refused.length, 1);
        await client.create(configmaps, 'n', { metadata: { name: 'c' } });
        await client.close();
        const reader = createClient({ servers: [first, url] });
        await reader.get(pods, { namespace: 'n', name: 'p' });
        await reader.close();
        assert.equal(refused.length, 2);
      });
    }
    assert.equal(seen.length, 6);
  });
});

test('moves on by one server, however many calls failed on it', async () => {
  await withServer([json(200, pod)], async (_, seen, url) => {
    const client = createClient({ servers: ['http://127.0.0.1:1', url] });
    const get = () => client.get(pods, { namespace: 'n', name: 'p' });
    await Promise.all([get(), get(), get(), get()]);
    await client.create(configmaps, 'n', { metadata: { name: 'c' } });
    await client.close();
    assert.equal(seen.length, 5);
  });
});

test('presents the token of its credentials', async () => {
  const credentials = fixedCredentials({ authorization: 'Bearer secret' });
  await withServer(
    [json(200, pod)],
    async (client, seen) => {
      await client.get(pods, { namespace: 'n', name: 'p' });
      assert.equal(seen[0]?.headers.authorization, 'Bearer secret');
    },
    { credentials },
  );
});

test('watch events survive chunks that end anywhere', async () => {
  const events = ['é', 'b'].map((name) => JSON.stringify({ type: 'ADDED', object: { metadata: { name } } }));
  const bytes = Buffer.from(`${events.join('\n')}\n{"type":"ADD`);
  const stream: Answer = (_, response) => {
    response.writeHead(200, { 'content-type': 'application/json' });
    let at = 0;
    const next = () => {
      if (at >= bytes.length) return void response.end();
      response.write(bytes.subarray(at, at + 7), () => setImmediate(next));
      at += 7;
    };
    next();
  };
  await withServer([stream], async (client, seen) => {
    const names: string[] = [];
    for await (const event of client.watch(pods, { namespace: 'n', resourceVersion: '5', allowWatchBookmarks: true })) {
      if (event.type !== 'ERROR') names.push(event.object.metadata.name);
    }
    assert.deepEqual(names, ['é', 'b']);
    assert.equal(seen[0]?.url, '/api/v1/namespaces/n/pods?resourceVersion=5&watch=true&allowWatchBookmarks=true');
  });
});

test('ends a watch when its signal is aborted', async () => {
  const silent: Answer = (_, response) => void response.writeHead(200).flushHeaders();
  await withServer([silent], async (client) => {
    const stop = new AbortController();
    setImmediate(() => stop.abort(new Error('enough')));
    await assert.rejects(async () => {
      for await (const event of client.watch(pods, { signal: stop.signal })) assert.fail(event.type);
    }, /enough|abort/i);
  });
});

test('gives up after the time that the caller allows', async () => {
  await withServer([() => undefined], async (client) => {
    await assert.rejects(client.get(pods, { namespace: 'n', name: 'p' }, { timeoutMs: 20 }), { name: 'TimeoutError' });
  });
});

test('raw answers text as text and JSON decoded', async () => {
  const text: Answer = (_, response) => response.writeHead(200, { 'content-type': 'text/plain' }).end('ok');
  await withServer([text, json(200, { major: '1' })], async (client) => {
    assert.equal(await client.raw({ method: 'GET', path: '/healthz' }), 'ok');
    assert.deepEqual(await client.raw({ method: 'GET', path: '/version' }), { major: '1' });
  });
});

test('tells the sizes of requests and answers, and how long a request waited for its turn', async () => {
  const told: FinishedRequest[] = [];
  const waits: string[] = [];
  const observer = {
    finished: (request: FinishedRequest) => void told.push(request),
    limited: ({ method }: { method: string }) => void waits.push(method),
  };
  const text = JSON.stringify({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ä' } });
  const answer: Answer = (_, response) =>
    void response.writeHead(201, { 'content-type': 'application/json' }).end(text);
  await withServer(
    [answer],
    async (client, seen) => {
      await client.create(configmaps, 'n', { apiVersion: 'v1', kind: 'ConfigMap', metadata: { name: 'ä' } });
      const [{ method, code, requestBytes, responseBytes } = {}] = told;
      const sizes = [Buffer.byteLength(seen[0]?.body ?? ''), Buffer.byteLength(text)];
      assert.deepEqual([method, code, requestBytes, responseBytes], ['POST', '201', ...sizes]);
      assert.deepEqual(waits, ['POST']);
    },
    { observer, qps: 100, burst: 1 },
  );
});

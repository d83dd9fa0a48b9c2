// exec, attach, port-forward and logs over WebSocket and SPDY, from kubectl and from plain clients.
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { pods } from '#kube/api/generated/resources.ts';
import { clustersUnavailable } from '../../support/e2e-cluster.ts';
import { eventually } from '../../support/eventually.ts';
import { type NodeCluster, script, startNodeCluster } from '../../support/node-cluster.ts';
import { openWebSocket, saysIn } from '../../support/websocket-client.ts';

interface EndStatus {
  status: string;
  reason?: string;
  details?: { causes?: { reason: string; message: string }[] };
}

describe('streams to containers', { skip: clustersUnavailable() ?? false, concurrency: 3 }, () => {
  let node: NodeCluster;
  let namespace: string;
  let work: string;
  const pod = 'streamed';
  before(async () => {
    node = await startNodeCluster();
    work = await mkdtemp(join(tmpdir(), 'berth-streams-'));
    namespace = await node.namespace();
    await node.createPod(namespace, {
      name: pod,
      spec: {
        containers: [
          script('echo container is alive; echo served > /tmp/page; exec httpd -f -p 8080 -h /tmp', { stdin: true }),
        ],
      },
    });
    await node.waitReady(namespace, pod);
  });
  after(async () => {
    if (work !== undefined) await rm(work, { recursive: true, force: true });
    await node?.[Symbol.asyncDispose]();
  });

  const path = (subresource: string, query: Record<string, string | string[]>) => {
    const search = new URLSearchParams(
      Object.entries(query).flatMap(([key, values]) => [values].flat().map((value): [string, string] => [key, value])),
    );
    return `/api/v1/namespaces/${namespace}/pods/${pod}/${subresource}?${search}`;
  };
  const exec = (command: string[], protocols: string[], query: Record<string, string> = {}) => {
    const streams = { stdout: '1', stderr: '1', container: 'main', ...query };
    return openWebSocket(node.config, path('exec', { command, ...streams }), protocols);
  };
  const endOf = (text: string) => JSON.parse(text) as EndStatus;
  const viaKubectl = (transport: 'WebSocket' | 'SPDY', args: string[], input?: string) => {
    const value = String(transport === 'WebSocket');
    const env = { KUBECTL_REMOTE_COMMAND_WEBSOCKETS: value, KUBECTL_PORT_FORWARD_WEBSOCKETS: value };
    return node.cluster.tryKubectl(['-n', namespace, ...args], { env, ...(input === undefined ? {} : { input }) });
  };

  it('Pods should support remote command execution over websockets', async () => {
    const websocket = await exec(['echo', 'remote execution test'], ['channel.k8s.io']);
    assert.equal(await websocket.closed, 1000);
    assert.deepEqual([...(websocket.messages[0] ?? [])], [1], 'an empty message comes first');
    assert.equal(websocket.channel(1), 'remote execution test\n');
    assert.equal(websocket.channel(3), '');
  });

  it('Pods should support retrieving logs from the container over websockets', async () => {
    for (const protocols of [['binary.k8s.io'], []]) {
      const websocket = await openWebSocket(node.config, path('log', { container: 'main' }), protocols);
      await websocket.closed;
      assert.equal(Buffer.concat(websocket.messages).toString(), 'container is alive\n');
    }
    const encoded = await openWebSocket(node.config, path('log', {}), ['base64.binary.k8s.io']);
    await encoded.closed;
    const text = encoded.messages.map((message) => Buffer.from(message.toString(), 'base64').toString()).join('');
    assert.equal(text, 'container is alive\n');
  });

  it('ends standard input alone over v5, and tells the exit code', async () => {
    const websocket = await exec(['sh', '-c', 'cat; echo done >&2; exit 3'], ['v5.channel.k8s.io'], { stdin: '1' });
    assert.equal(websocket.protocol, 'v5.channel.k8s.io');
    websocket.send([0], 'typed\n');
    await saysIn(websocket, 1, 'typed\n');
    websocket.send([255, 0]);
    assert.equal(await websocket.closed, 1000);
    assert.equal(websocket.channel(2), 'done\n');
    const { status, reason, details } = endOf(websocket.channel(3));
    assert.equal(status, 'Failure');
    assert.equal(reason, 'NonZeroExitCode');
    assert.deepEqual(details?.causes, [{ reason: 'ExitCode', message: '3' }]);
  });

  it('speaks the older subprotocols too, and refuses unknown ones', async () => {
    const four = await exec(['false'], ['v4.channel.k8s.io']);
    await four.closed;
    assert.equal(endOf(four.channel(3)).details?.causes?.[0]?.message, '1');
    const encoded = await exec(['echo', 'hi'], ['v4.base64.channel.k8s.io']);
    await encoded.closed;
    const said = encoded.messages.map((message) => message.toString()).filter((text) => text.startsWith('1'));
    assert.equal(Buffer.from(said.map((text) => text.slice(1)).join(''), 'base64').toString(), 'hi\n');
    const oldest = await exec(['sh', '-c', 'exit 7'], []);
    await oldest.closed;
    assert.match(oldest.channel(3), /command terminated with non-zero exit code/);
    await assert.rejects(exec(['true'], ['v9.channel.k8s.io']), /400: .*v9\.channel\.k8s\.io/);
    await assert.rejects(exec(['true'], ['v5.channel.k8s.io'], { stdout: '0', stderr: '0' }), /400: /);
  });

  it('gives a terminal the size its client says, and each new one', async () => {
    const websocket = await exec(['sh'], ['v5.channel.k8s.io'], { stdin: '1', tty: '1', stderr: '0' });
    websocket.send([4], '{"Width":100,"Height":40}');
    websocket.send([0], 'stty size\n');
    await saysIn(websocket, 1, '40 100');
    websocket.send([4], '{"Width":77,"Height":33}');
    await eventually('the new size', async () => {
      websocket.send([0], 'stty size\n');
      return websocket.channel(1).includes('33 77');
    });
    websocket.send([0], 'exit 5\n');
    await websocket.closed;
    assert.equal(endOf(websocket.channel(3)).details?.causes?.[0]?.message, '5');
  });

  it('ends the command of a client that leaves', async () => {
    const websocket = await exec(['sh', '-c', 'cat; touch /tmp/left'], ['v5.channel.k8s.io'], { stdin: '1' });
    websocket.send([0], 'here\n');
    await saysIn(websocket, 1, 'here');
    websocket.close();
    await eventually('standard input has ended', async () =>
      node.shell(namespace, pod, 'test -e /tmp/left').then(
        () => true,
        () => false,
      ),
    );
  });

  it('carries many streams at once, each with its own bytes', async () => {
    const all = Array.from({ length: 30 }, async (_, index) => {
      const websocket = await exec(
        ['sh', '-c', `for i in $(seq 200); do echo ${index} $i; done`],
        ['v5.channel.k8s.io'],
      );
      await websocket.closed;
      const expected = Array.from({ length: 200 }, (__, line) => `${index} ${line + 1}\n`).join('');
      assert.ok(websocket.channel(1) === expected, `stream ${index} has its own lines`);
      assert.equal(endOf(websocket.channel(3)).status, 'Success');
    });
    await Promise.all(all);
  });

  for (const transport of ['WebSocket', 'SPDY'] as const) {
    it(`runs kubectl exec over ${transport}: input, both outputs, exit code`, async () => {
      const command = ['sh', '-c', 'cat; echo problem >&2; exit 4'];
      const result = await viaKubectl(transport, ['exec', '-i', pod, '--', ...command], 'from standard input\n');
      assert.equal(result.exitCode, 4);
      assert.equal(result.stdout, 'from standard input\n');
      assert.match(result.stderr, /^problem\n/);
      const told = await viaKubectl(transport, ['exec', '-v=8', pod, '--', 'true']);
      assert.equal(/Upgrade: SPDY/.test(told.stderr), transport === 'SPDY', told.stderr);
    });

    it(`copies files there and back with kubectl over ${transport}`, async () => {
      const content = createHash('sha512').update(transport).digest().toString('base64').repeat(60_000);
      const [there, back] = [join(work, `there-${transport}`), join(work, `back-${transport}`)];
      await writeFile(there, content);
      const to = await viaKubectl(transport, ['cp', there, `${pod}:/tmp/copy-${transport}`]);
      assert.equal(to.exitCode, 0, to.stderr);
      const from = await viaKubectl(transport, ['cp', `${pod}:/tmp/copy-${transport}`, back]);
      assert.equal(from.exitCode, 0, from.stderr);
      assert.ok((await readFile(back, 'utf8')) === content);
    });

    it(`forwards a port with kubectl over ${transport}`, async () => {
      const port = transport === 'WebSocket' ? '18080' : '18081';
      const env = { KUBECTL_PORT_FORWARD_WEBSOCKETS: String(transport === 'WebSocket') };
      const stop = new AbortController();
      const args = ['--kubeconfig', node.cluster.layout.adminKubeconfig, '-n', namespace, 'port-forward'];
      const forward = node.cluster.namespace
        .exec('kubectl', ['-v=8', ...args, pod, `${port}:8080`], { env, signal: stop.signal })
        .catch(() => undefined);
      try {
        for (let fetched = 0; fetched < 5; fetched += 1) {
          await eventually('the page', async () => {
            return (await node.cluster.fetch(`http://127.0.0.1:${port}/page`)).stdout === 'served\n';
          });
        }
      } finally {
        stop.abort();
        await forward;
      }
    });

    it(`ends kubectl attach over ${transport} when the container ends, with all it said`, async () => {
      const name = `attached-${transport.toLowerCase()}`;
      await node.createPod(namespace, {
        name,
        spec: {
          restartPolicy: 'Never',
          containers: [script('read line; sleep 1; echo got $line', { stdin: true, stdinOnce: true })],
        },
      });
      await node.waitReady(namespace, name);
      const result = await viaKubectl(transport, ['attach', '-i', name], 'a word\n');
      assert.equal(result.exitCode, 0, result.stderr);
      assert.match(result.stdout, /got a word\n/);
      await node.client.delete(pods, { namespace, name });
    });
  }

  it('forwards ports over the WebSocket protocol of older clients', async () => {
    const websocket = await openWebSocket(node.config, path('portforward', { ports: '8080' }), ['v4.channel.k8s.io']);
    const portBytes = String.fromCharCode(8080 & 0xff, 8080 >> 8);
    await eventually('both channels name their port', async () => websocket.messages.length >= 2);
    assert.deepEqual([websocket.messages[0]?.[0], websocket.messages[1]?.[0]], [0, 1]);
    assert.equal(websocket.messages[0]?.subarray(1).toString('latin1'), portBytes);
    websocket.send([0], 'GET /page HTTP/1.0\r\n\r\n');
    await saysIn(websocket, 0, 'served\n');
    websocket.close();
  });

  it('takes large input as fast as the command reads it', async () => {
    const websocket = await exec(['sh', '-c', 'sleep 1; wc -c'], ['v5.channel.k8s.io'], { stdin: '1' });
    const part = 'x'.repeat(256 * 1024);
    for (let sent = 0; sent < 64; sent += 1) websocket.send([0], part);
    websocket.send([255, 0]);
    await websocket.closed;
    assert.equal(websocket.channel(1).trim(), String(64 * part.length));
  });

  it('gives large output to a slow client whole', async () => {
    const websocket = await exec(['sh', '-c', 'head -c 20000000 /dev/zero'], ['v5.channel.k8s.io']);
    websocket.pause();
    await sleep(2000);
    websocket.resume();
    assert.equal(await websocket.closed, 1000);
    const bytes = websocket.messages
      .filter(([channel]) => channel === 1)
      .reduce((sum, { length }) => sum + length - 1, 0);
    assert.equal(bytes, 20_000_000);
    assert.equal(endOf(websocket.channel(3)).status, 'Success');
  });

  it('refuses streams into what is not there', async () => {
    const toPod = (name: string, query: string) =>
      openWebSocket(node.config, `/api/v1/namespaces/${namespace}/pods/${name}/exec?command=id&stdout=1${query}`, [
        'v5.channel.k8s.io',
      ]);
    await assert.rejects(toPod('absent', ''), /404: .*pods \\"absent\\" not found/);
    await assert.rejects(toPod(pod, '&container=absent'), /400: .*container absent is not valid for pod/);
  });
});

// An image registry of a test's own on loopback: enough of the distribution API for a runtime to pull, with users,
// tokens, delays and failures as the test wants them.
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { execOrThrow, systemExec } from '#kube/process/exec.ts';
import { buildTestImages } from './test-images.ts';

/** How a repository is served. */
export interface RepositoryRules {
  /** Password by user; absent: everybody may pull. */
  users?: Record<string, string>;
  /** Users get a token first, as at most public registries. */
  tokens?: boolean;
  delayMs?: number;
  /** Layers stop in their middle until this resolves. */
  held?: Promise<void>;
  /** Every request fails with this. */
  failure?: number;
}

export interface TestRegistry extends AsyncDisposable {
  /** `127.0.0.1:PORT`. */
  host: string;
  rules: Map<string, RepositoryRules>;
  /** Digest of the image's manifest; all repositories hold the same image. */
  digest: string;
  /** Pulls that began: manifests asked for with success, as `user repository`. */
  pulls: string[];
}

/** Configurations are below, layers above. */
const smallBytes = 10_000;
const index = 'application/vnd.oci.image.manifest.v1+json';

function basicUser(request: IncomingMessage, users: Record<string, string>): string | undefined {
  const [scheme = '', value = ''] = (request.headers.authorization ?? '').split(' ');
  if (scheme !== 'Basic') return undefined;
  const [user = '', password = ''] = Buffer.from(value, 'base64').toString().split(':');
  return users[user] === password && password !== '' ? user : undefined;
}

/** Starts it with the first of the test images in every repository. */
export async function startTestRegistry(): Promise<TestRegistry> {
  const directory = await mkdtemp(join(tmpdir(), 'test-registry-'));
  const [archive = ''] = await buildTestImages(join(directory, 'archives'));
  const layout = join(directory, 'layout');
  await mkdir(layout);
  await execOrThrow(systemExec, 'tar', ['-C', layout, '-xf', archive]);
  const { manifests } = JSON.parse(await readFile(join(layout, 'index.json'), 'utf8')) as {
    manifests: { digest: string }[];
  };
  const digest = manifests[0]?.digest ?? '';
  const rules = new Map<string, RepositoryRules>();
  const tokens = new Map<string, string>();
  const pulls: string[] = [];

  /** The user who asks; undefined when nobody allowed does, and then the answer is given. */
  function userOf(request: IncomingMessage, response: ServerResponse, repository: string): string | undefined {
    const { users, tokens: wantsTokens = false } = rules.get(repository) ?? {};
    if (users === undefined) return 'anybody';
    const [scheme, value = ''] = (request.headers.authorization ?? '').split(' ');
    const user = wantsTokens ? (scheme === 'Bearer' ? tokens.get(value) : undefined) : basicUser(request, users);
    if (user !== undefined) return user;
    const realm = `realm="http://${request.headers.host}/token?repository=${repository}",service="test"`;
    response.setHeader('WWW-Authenticate', wantsTokens ? `Bearer ${realm}` : 'Basic realm="test"');
    response.writeHead(401, { 'Content-Type': 'application/json' });
    response.end('{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}');
    return undefined;
  }

  async function serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const url = new URL(request.url ?? '/', 'http://registry');
    if (url.pathname === '/token') {
      const { users = {} } = rules.get(url.searchParams.get('repository') ?? '') ?? {};
      const user = basicUser(request, users);
      if (user === undefined) return void response.writeHead(401).end();
      const token = randomBytes(8).toString('hex');
      tokens.set(token, user);
      return void response.end(JSON.stringify({ token }));
    }
    const match = /^\/v2\/(.+)\/(manifests|blobs)\/([^/]+)$/.exec(url.pathname);
    if (match === null) return void response.writeHead(url.pathname === '/v2/' ? 200 : 404).end();
    const [, repository = '', kind, reference = ''] = match;
    const { failure, delayMs = 0, held } = rules.get(repository) ?? {};
    if (failure !== undefined) return void response.writeHead(failure).end();
    const user = userOf(request, response, repository);
    if (user === undefined) return;
    const wanted = kind === 'manifests' && !reference.startsWith('sha256:') ? digest : reference;
    const content = await readFile(join(layout, 'blobs/sha256', wanted.replace('sha256:', ''))).catch(() => undefined);
    if (content === undefined) return void response.writeHead(404).end();
    await sleep(delayMs);
    if (kind === 'manifests' && request.method === 'HEAD') pulls.push(`${user} ${repository}`);
    response.setHeader('Docker-Content-Digest', `sha256:${createHash('sha256').update(content).digest('hex')}`);
    response.setHeader('Content-Type', kind === 'manifests' ? index : 'application/octet-stream');
    response.setHeader('Content-Length', content.length);
    if (request.method === 'HEAD') return void response.end();
    if (kind === 'blobs' && held !== undefined && content.length > smallBytes) {
      response.write(content.subarray(0, content.length / 2));
      await held;
      return void response.end(content.subarray(content.length / 2));
    }
    response.end(content);
  }

  const server = createServer((request, response) => void serve(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    host: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    rules,
    digest,
    pulls,
    [Symbol.asyncDispose]: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
      await rm(directory, { recursive: true, force: true });
    },
  };
}

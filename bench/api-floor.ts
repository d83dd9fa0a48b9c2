// The floor of the API server rows: bare fastify over TLS with one durable LMDB put, get or list of bytes.
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fastify } from 'fastify';
import { open } from 'lmdb';

const dir = await mkdtemp(join(tmpdir(), 'berth-floor-'));
const [certPath = '', keyPath = ''] = process.argv.slice(2);
const db = open({ path: dir, encoding: 'binary' });
const app = fastify({ https: { cert: await readFile(certPath), key: await readFile(keyPath) } });
app.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
const all = (): Buffer => Buffer.concat([...db.getRange()].map(({ value }) => value as Buffer));
app.put('/:key', async (request, reply) => {
  await db.put((request.params as { key: string }).key, request.body as Buffer);
  await db.flushed;
  return reply.type('application/json').send(request.body);
});
app.delete('/:key', async (request, reply) => {
  await db.remove((request.params as { key: string }).key);
  await db.flushed;
  return reply.type('application/json').send('{}');
});
app.get('/list', (_request, reply) => reply.type('application/json').send(all()));
app.get('/:key', (request, reply) =>
  reply.type('application/json').send(db.get((request.params as { key: string }).key)),
);
await app.listen({ host: '127.0.0.1', port: 0 });
process.stdout.write(`${(app.server.address() as { port: number }).port}\n`);
process.once('SIGTERM', () => {
  app
    .close()
    .then(() => db.close())
    .then(() => rm(dir, { recursive: true, force: true }))
    .then(() => process.exit(0));
});

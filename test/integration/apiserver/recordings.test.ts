// Requests recorded on a reference API server, replayed: defaults in full, refusals word for word.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { normaliseRecording } from './normalise-recording.ts';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Recorded {
  name?: string;
  method?: string;
  path: string;
  contentType?: string;
  sent?: unknown;
  body?: unknown;
  status: number;
  answer: unknown;
}

const read = (name: string): Recorded[] =>
  JSON.parse(readFileSync(new URL(`../../data/api/${name}.json`, import.meta.url), 'utf8')) as Recorded[];

const pem = '-----BEGIN CERTIFICATE REQUEST-----\nMAA=\n-----END CERTIFICATE REQUEST-----\n';
const certificateRequest = Buffer.from(pem).toString('base64');

describe('recordings of a reference API server', () => {
  let server: TestServer;

  const replay = async (recorded: Recorded) => {
    const { method = 'POST', path, contentType = 'application/json', status, answer } = recorded;
    const body = recorded.sent ?? recorded.body;
    const text = typeof body === 'string' ? body : JSON.stringify(body).replace('@CSR@', certificateRequest);
    const given = await server.call(method, path, body === null ? {} : { body: text, contentType });
    assert.equal(given.status, status, given.text);
    const wanted = normaliseRecording(answer);
    const got = normaliseRecording(typeof answer === 'string' ? given.text : given.body) as {
      metadata?: { managedFields?: unknown };
    };
    // Objects of nobody's own fields have no managers there; here the creation is noted all the same.
    if ((wanted as typeof got)?.metadata?.managedFields === undefined) delete got.metadata?.managedFields;
    assert.deepEqual(got, wanted);
  };

  before(async () => {
    server = await startApiServer();
    await server.call('POST', '/api/v1/namespaces', { body: { metadata: { name: 'demo' } } });
    const account = { metadata: { name: 'default' } };
    await server.call('POST', '/api/v1/namespaces/demo/serviceaccounts', { body: account });
  });
  after(() => server.close());

  for (const recorded of read('defaults')) {
    it(`defaults ${recorded.name}`, () => replay(recorded));
  }

  // Those that were accepted come first: some refusals are about what they made.
  const errors = read('errors').sort((a, b) => Number(b.status === 201) - Number(a.status === 201));
  for (const [index, recorded] of errors.entries()) {
    const { method, path, status } = recorded;
    it(`answers ${status} to request ${index + 1}: ${method} ${path}`, () => replay(recorded));
  }
});

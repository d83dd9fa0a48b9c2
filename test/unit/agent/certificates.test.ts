import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readlinkSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pino } from 'pino';
import { nodeKubeconfig } from '../../../agent/certificate/bootstrap-client.ts';
import { type CertificatePair, createCertificateStore } from '../../../agent/certificate/certificate-store.ts';
import { isValidAt, rotationDeadlineMs } from '../../../agent/certificate/plan-rotation.ts';
import { rotateCertificate } from '../../../agent/certificate/rotate-certificate.ts';
import { createSelfSigned } from '../../../agent/server/self-signed-certificate.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

const hour = 3600_000;

describe('rotationDeadlineMs', () => {
  it('lies between seven and nine tenths of the life', () => {
    const life = { notBeforeMs: 1000, notAfterMs: 11_000 };
    assert.equal(rotationDeadlineMs(life, 0), 8000);
    assert.equal(rotationDeadlineMs(life, 1), 10_000);
    assert.equal(isValidAt(life, 999), false);
    assert.equal(isValidAt(life, 1000), true);
    assert.equal(isValidAt(life, 11_000), false);
  });
});

describe('createCertificateStore', () => {
  const directory = mkdtempSync(join(tmpdir(), 'certificates-'));
  after(() => rmSync(directory, { recursive: true, force: true }));

  it('keeps every pair in a file of its own, for its owner only, and links the newest', async () => {
    const store = createCertificateStore(directory, 'kubelet-client');
    assert.equal(await store.load(), undefined);
    const nowMs = Date.parse('2026-01-02T03:04:05Z');
    const first = await createSelfSigned('node-a', [], nowMs);
    const second = await createSelfSigned('node-a', [], nowMs + hour);
    await store.save(first.cert, first.key, nowMs);
    const saved = await store.save(second.cert, second.key, nowMs + hour);
    assert.deepEqual(readdirSync(directory).sort(), [
      'kubelet-client-2026-01-02-03-04-05.pem',
      'kubelet-client-2026-01-02-04-04-05.pem',
      'kubelet-client-current.pem',
    ]);
    assert.equal(readlinkSync(store.currentPath), join(directory, 'kubelet-client-2026-01-02-04-04-05.pem'));
    assert.equal(statSync(store.currentPath).mode & 0o777, 0o600);
    assert.deepEqual(await store.load(), saved);
    assert.equal(saved.keyPem, second.key);
  });
});

describe('rotateCertificate', () => {
  it('asks in time, and again with longer and longer waits while that fails', async () => {
    const clock = createFakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const make = () => createSelfSigned('node-a', [], clock.now());
    const saved: CertificatePair[] = [];
    const asked: number[] = [];
    let failing = 0;
    const pairOf = async (): Promise<CertificatePair> => {
      const { cert, key } = await make();
      return {
        certPem: cert,
        keyPem: key,
        notBeforeMs: clock.now(),
        notAfterMs: clock.now() + 10 * hour,
        subject: 'CN=node-a',
      };
    };
    const stop = new AbortController();
    const start = clock.now();
    const running = rotateCertificate(
      {
        store: {
          currentPath: '',
          load: async () => undefined,
          save: async () => {
            const pair = await pairOf();
            saved.push(pair);
            return pair;
          },
        },
        obtain: async () => {
          asked.push((clock.now() - start) / 1000);
          if (failing > 0) {
            failing -= 1;
            throw new Error('nobody approves');
          }
          return { certPem: '', keyPem: '' };
        },
        changed: () => undefined,
        clock,
        logger: pino({ level: 'silent' }),
        random: () => 0,
      },
      stop.signal,
    );
    await new Promise((resolve) => setTimeout(resolve, 50));
    assert.deepEqual(asked, [0]);
    failing = 2;
    await new Promise((resolve) => setTimeout(resolve, 50));
    for (const step of [7 * hour, 4000, 8000]) {
      await clock.advance(step);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.ok(asked.length >= 3, `asked at ${asked}`);
    assert.equal(asked[1], 7 * 3600);
    assert.ok((asked[2] ?? 0) - (asked[1] ?? 0) >= 1);
    stop.abort();
    await running;
    assert.ok(saved.length >= 1);
  });

  it('does not ask again and again when the clock is so wrong that no certificate is valid', async () => {
    const clock = createFakeClock(Date.parse('2028-01-01T00:00:00Z'));
    const stop = new AbortController();
    const pair = { certPem: '', keyPem: '', notBeforeMs: 0, notAfterMs: clock.now() - hour, subject: 'CN=node-a' };
    let asked = 0;
    const running = rotateCertificate(
      {
        store: { currentPath: '', load: async () => undefined, save: async () => pair },
        obtain: async () => {
          asked += 1;
          return { certPem: '', keyPem: '' };
        },
        changed: () => undefined,
        clock,
        logger: pino({ level: 'silent' }),
      },
      stop.signal,
    );
    for (let second = 0; second < 60; second += 1) await clock.advance(1000);
    assert.ok(asked >= 2 && asked < 8, `asked ${asked} times in a minute`);
    stop.abort();
    await running;
  });

  it('notices within minutes that the clock was set past the end', async () => {
    const clock = createFakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const stop = new AbortController();
    const life = { notBeforeMs: clock.now(), notAfterMs: clock.now() + 24 * hour };
    const pair = { certPem: '', keyPem: '', subject: 'CN=node-a', ...life };
    let [jumpMs, asked] = [0, 0];
    const running = rotateCertificate(
      {
        store: { currentPath: '', load: async () => pair, save: async () => pair },
        obtain: async () => {
          asked += 1;
          return { certPem: '', keyPem: '' };
        },
        changed: () => undefined,
        clock: { ...clock, now: () => clock.now() + jumpMs },
        logger: pino({ level: 'silent' }),
      },
      stop.signal,
    );
    await clock.advance(60_000);
    assert.equal(asked, 0);
    jumpMs = 2 * 365 * 24 * hour;
    await clock.advance(60_000);
    await clock.advance(1000);
    assert.ok(asked > 0);
    stop.abort();
    await running;
  });

  it('waits for the end of a certificate of years in pieces that timers can hold', async () => {
    const clock = createFakeClock(Date.parse('2026-01-01T00:00:00Z'));
    const sleeps: number[] = [];
    const year = 365 * 24 * hour;
    const stop = new AbortController();
    let asked = 0;
    const pair = {
      certPem: '',
      keyPem: '',
      notBeforeMs: clock.now(),
      notAfterMs: clock.now() + year,
      subject: 'CN=node-a',
    };
    const running = rotateCertificate(
      {
        store: { currentPath: '', load: async () => pair, save: async () => pair },
        obtain: async () => {
          asked += 1;
          return { certPem: '', keyPem: '' };
        },
        changed: () => undefined,
        clock: {
          ...clock,
          sleep: (ms, signal) => {
            sleeps.push(ms);
            return clock.sleep(ms, signal);
          },
        },
        logger: pino({ level: 'silent' }),
      },
      stop.signal,
    );
    for (let step = 0; step < 24 * 60; step += 1) await clock.advance(60_000);
    assert.equal(asked, 0);
    assert.ok(Math.max(...sleeps) <= 2 ** 31 - 1);
    stop.abort();
    await running;
  });
});

describe('nodeKubeconfig', () => {
  it('takes the cluster of the bootstrap file and names the certificate by its path', () => {
    const made = nodeKubeconfig(
      {
        apiVersion: 'v1',
        kind: 'Config',
        clusters: [
          { name: 'other', cluster: { server: 'https://other' } },
          { name: 'c', cluster: { server: 'https://api:6443', 'certificate-authority-data': 'Y2E=' } },
        ],
        users: [{ name: 'u', user: { token: 'secret' } }],
        contexts: [{ name: 'x', context: { cluster: 'c', user: 'u' } }],
        'current-context': 'x',
      },
      '/pki/kubelet-client-current.pem',
    );
    assert.deepEqual(made.clusters, [
      { name: 'default-cluster', cluster: { server: 'https://api:6443', 'certificate-authority-data': 'Y2E=' } },
    ]);
    assert.doesNotMatch(JSON.stringify(made), /secret/);
    assert.equal(made.users[0]?.user['client-certificate'], '/pki/kubelet-client-current.pem');
  });
});

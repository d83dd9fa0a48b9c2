import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { pino } from 'pino';
import { systemClock } from '#kube/process/clock.ts';
import { planRegistrations } from '../../../agent/plugin-registration/plan-registrations.ts';
import type { PluginFacts, PluginHandler } from '../../../agent/plugin-registration/plugin-handler.ts';
import { createPluginRegistry } from '../../../agent/plugin-registration/plugin-registry.ts';
import { eventually } from '../../support/eventually.ts';

describe('planRegistrations', () => {
  const known = new Map([
    ['/a', { identity: '1' }],
    ['/b', { identity: '1' }],
  ]);
  it('adds what is new, drops what is gone, and does both for what came again', () => {
    const seen = [
      { path: '/b', identity: '2' },
      { path: '/c', identity: '1' },
    ];
    assert.deepEqual(planRegistrations(seen, known), { gone: ['/a', '/b'], added: seen });
  });
  it('leaves alone what stayed', () => {
    const seen = [...known].map(([path, { identity }]) => ({ path, identity }));
    assert.deepEqual(planRegistrations(seen, known), { gone: [], added: [] });
  });
});

describe('createPluginRegistry', () => {
  let directory = '';
  const sockets: Server[] = [];
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'plugins-'));
  });
  afterEach(() => {
    for (const server of sockets.splice(0)) server.close();
    rmSync(directory, { recursive: true, force: true });
  });

  async function listen(name: string): Promise<string> {
    const path = join(directory, name);
    const server = createServer();
    sockets.push(server);
    await new Promise<void>((resolve) => server.listen(path, resolve));
    return path;
  }

  async function running(test: (seen: { log: string[]; fail(message: string | undefined): void }) => Promise<void>) {
    const log: string[] = [];
    let failure: string | undefined;
    const handler: PluginHandler = {
      type: 'CSIPlugin',
      async register({ name, endpoint }: PluginFacts) {
        if (failure !== undefined) throw new Error(failure);
        log.push(`register ${name} ${endpoint === '' ? '' : 'at its socket'}`);
      },
      deregister: async ({ name }) => void log.push(`deregister ${name}`),
    };
    const registry = createPluginRegistry({
      directory,
      handlers: [handler],
      clock: systemClock,
      logger: pino({ level: 'silent' }),
      open: (socketPath) => ({
        info: async () => {
          const name = socketPath.slice(socketPath.lastIndexOf('/') + 1);
          return {
            type: name.startsWith('other') ? 'Other' : 'CSIPlugin',
            name,
            endpoint: socketPath,
            versions: ['1.0.0'],
          };
        },
        notify: async (error) => void log.push(`told ${error === '' ? 'success' : error}`),
        close: () => undefined,
      }),
    });
    const stop = new AbortController();
    const done = registry.run(stop.signal);
    try {
      await test({
        log,
        fail: (message) => {
          failure = message;
        },
      });
    } finally {
      stop.abort();
      await done;
    }
  }

  const has = (log: string[], entry: string) => eventually(entry, async () => log.includes(entry), 5000);

  it('registers what is there, what comes, and forgets what goes', async () => {
    await listen('early.sock');
    await running(async ({ log }) => {
      await has(log, 'register early.sock at its socket');
      const late = await listen('late.sock');
      await has(log, 'register late.sock at its socket');
      assert.ok(log.includes('told success'));
      await rm(late);
      await has(log, 'deregister late.sock');
    });
  });

  it('leaves hidden sockets alone', async () => {
    await listen('.hidden.sock');
    await running(async ({ log }) => {
      await listen('seen.sock');
      await has(log, 'register seen.sock at its socket');
      assert.ok(log.every((entry) => !entry.includes('hidden')));
    });
  });

  it('tells a plugin why it was refused, and tries again', async () => {
    await running(async ({ log, fail }) => {
      fail('not today');
      await listen('p.sock');
      await has(log, 'told not today');
      fail(undefined);
      await has(log, 'register p.sock at its socket');
    });
  });

  it('refuses kinds that nobody handles', async () => {
    const path = await listen('other.sock');
    await running(async ({ log }) => {
      await has(log, `told no handler registered for plugin type: Other at socket ${path}`);
    });
  });
});

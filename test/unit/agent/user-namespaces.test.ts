import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { containerConfig } from '../../../agent/container/container-config.ts';
import { createUserNamespaces } from '../../../agent/container/user-namespaces.ts';
import { container, podOf } from './fixtures.ts';

const podWith = (uid: string, hostUsers?: boolean) =>
  podOf({ containers: [container('c')], ...(hostUsers === undefined ? {} : { hostUsers }) }, { uid });

describe('user namespaces of pods', () => {
  function open(t: { after(run: () => void): void }) {
    const rootDir = mkdtempSync(join(tmpdir(), 'userns-'));
    t.after(() => rmSync(rootDir, { recursive: true }));
    return { rootDir, create: () => createUserNamespaces({ rootDir, maxPods: 2, isSupported: (name) => name === '' }) };
  }

  it('are not made for pods that share the users of the node', async (t) => {
    const users = open(t).create();
    assert.equal(await users.of(podWith('a'), ''), undefined);
    assert.equal(await users.of(podWith('a', true), ''), undefined);
  });

  it('have ranges that no other pod has, over a restart too', async (t) => {
    const { create, rootDir } = open(t);
    const first = create();
    const range = async (users: typeof first, uid: string) => (await users.of(podWith(uid, false), ''))?.uids?.[0];
    assert.deepEqual(await range(first, 'a'), { hostId: 65_536, containerId: 0, length: 65_536 });
    assert.equal((await range(first, 'b'))?.hostId, 131_072);
    await assert.rejects(range(first, 'c'), /no range of user ids is left/);
    const file = readFileSync(join(rootDir, 'pods/a/userns'), 'utf8');
    assert.deepEqual(JSON.parse(file).gidMappings, [{ hostId: 65_536, containerId: 0, length: 65_536 }]);

    const second = create();
    assert.equal((await range(second, 'b'))?.hostId, 131_072);
    second.release('a');
    assert.equal((await range(second, 'c'))?.hostId, 65_536);
  });

  it('are as wide as the node says, and overlap none of another width', async (t) => {
    const { create, rootDir } = open(t);
    const narrow = create();
    await narrow.of(podWith('a', false), '');
    await narrow.of(podWith('b', false), '');
    const wide = createUserNamespaces({ rootDir, maxPods: 4, idsPerPod: 131_072, isSupported: () => true });
    const range = async (uid: string) => (await wide.of(podWith(uid, false), ''))?.uids?.[0];
    assert.deepEqual(await range('a'), { hostId: 65_536, containerId: 0, length: 65_536 }, 'it keeps what it has');
    assert.deepEqual(await range('c'), { hostId: 262_144, containerId: 0, length: 131_072 });
    assert.equal((await range('d'))?.hostId, 393_216);
  });

  it('are refused where the runtime cannot give them', async (t) => {
    const users = open(t).create();
    await assert.rejects(
      users.of(podWith('a', false), 'other'),
      /^Error: can't set `spec.hostUsers: false`, RuntimeClass handler "other" does not support user namespaces$/,
    );
  });

  it('hold for the mounts of containers too', () => {
    const uids = [{ hostId: 65_536, containerId: 0, length: 65_536 }];
    const inputs = {
      restartCount: 0,
      imageRef: 'sha256:a',
      imageUser: { uid: 0, username: '' },
      environment: new Map<string, string>(),
      mounts: [{ containerPath: '/a', hostPath: '/b' }],
      users: { mode: 'POD' as const, uids, gids: uids },
    };
    const settings = {
      resources: { memoryCapacityBytes: 1, hugepageSizes: [], cpuCfsQuota: true, cpuCfsQuotaPeriodMs: 100 },
      security: { seccompProfileRoot: '/s', seccompDefault: false },
    };
    const config = containerConfig(podWith('a', false), container('c'), inputs, settings);
    assert.deepEqual(config.mounts?.[0]?.uidMappings, uids);
    assert.equal(config.linux?.securityContext?.namespaceOptions?.usernsOptions?.mode, 'POD');
  });
});

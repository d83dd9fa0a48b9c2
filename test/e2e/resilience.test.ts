import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { after, before, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemExec } from '#kube/process/exec.ts';
import { isAlive, readRunState } from '../../cli/up/run-state.ts';
import { clustersUnavailable, startTestCluster, type TestCluster } from '../support/e2e-cluster.ts';
import { eventually } from '../support/eventually.ts';

const image = 'localhost/berth/busybox:1';
const skip = clustersUnavailable() ?? false;

function podFacts(text: string): unknown {
  const { metadata, status } = JSON.parse(text);
  const [container] = status.containerStatuses;
  const ready = status.conditions.find((condition: { type: string }) => condition.type === 'Ready');
  return {
    uid: metadata.uid,
    id: container.containerID,
    restarts: container.restartCount,
    ready: ready.status,
    since: ready.lastTransitionTime,
  };
}

describe('a cluster whose parts are killed', { skip }, () => {
  let cluster: TestCluster;
  const kubectl = (...args: string[]) => cluster.kubectl(...args);
  const pidOf = async (prefix: string): Promise<number> => {
    const state = await readRunState(cluster.layout.stateFile);
    const record = state?.processes.find(({ name }) => name.startsWith(prefix));
    assert.ok(record !== undefined && isAlive(record), prefix);
    return record.pid;
  };

  before(async () => {
    cluster = await startTestCluster();
    await cluster.apply({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: 'steady' },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'main',
            image,
            command: ['sleep', '3600'],
            readinessProbe: { exec: { command: ['true'] }, periodSeconds: 1 },
          },
        ],
      },
    });
    await kubectl('wait', '--for=condition=Ready', 'pod/steady', '--timeout=60s');
  });
  after(async () => {
    await cluster?.[Symbol.asyncDispose]();
  });

  it('changes nothing about running pods when the agent is killed and comes back', async () => {
    const facts = podFacts(await kubectl('get', 'pod', 'steady', '-o', 'json'));
    const pid = await pidOf('agent');
    process.kill(pid, 'SIGKILL');
    await eventually('another agent', async () =>
      (await readRunState(cluster.layout.stateFile))?.processes.some(
        ({ name, pid: now }) => name.startsWith('agent') && now !== pid,
      ),
    );
    await eventually(
      'the agent serves again',
      async () => (await kubectl('exec', 'steady', '--', 'echo', 'here')) === 'here\n',
    );
    // Long enough for a relist, probes and a status sync to do harm.
    await sleep(4000);
    assert.deepEqual(podFacts(await kubectl('get', 'pod', 'steady', '-o', 'json')), facts);
  });

  it('loses no acknowledged write when the control plane is killed amid writes', async () => {
    const acknowledged: string[] = [];
    const pid = await pidOf('control-plane');
    let running = true;
    const writers = Array.from({ length: 4 }, async (_, writer) => {
      for (let i = 0; running; i += 1) {
        const name = `w${writer}-${i}`;
        const result = await cluster.tryKubectl([
          'create',
          'configmap',
          name,
          '--from-literal=a=b',
          '--request-timeout=5s',
        ]);
        if (result.exitCode === 0) acknowledged.push(name);
      }
    });
    await eventually('some writes', async () => acknowledged.length >= 10);
    process.kill(pid, 'SIGKILL');
    await eventually('writes after the restart', async () => {
      const before = acknowledged.length;
      await sleep(1000);
      return acknowledged.length > before + 4 && (await pidOf('control-plane').catch(() => pid)) !== pid;
    });
    running = false;
    await Promise.all(writers);
    const present = new Set((await kubectl('get', 'configmaps', '-o', 'name')).split('\n'));
    assert.deepEqual(
      acknowledged.filter((name) => !present.has(`configmap/${name}`)),
      [],
    );
  });

  it('goes on with the same pods after everything but the containers was killed', async () => {
    const facts = podFacts(await kubectl('get', 'pod', 'steady', '-o', 'json'));
    const state = await readRunState(cluster.layout.stateFile);
    assert.ok(state);
    process.kill(state.supervisor.pid, 'SIGKILL');
    for (const { pid } of state.processes) process.kill(pid, 'SIGKILL');
    await eventually('all are gone', async () => ![state.supervisor, ...state.processes].some(isAlive));
    const again = await cluster.up();
    assert.equal(again.exitCode, 0, again.stderr);
    await eventually('the pod is seen', async () => {
      assert.deepEqual(podFacts(await kubectl('get', 'pod', 'steady', '-o', 'json')), facts);
      return true;
    });
    assert.equal(await kubectl('exec', 'steady', '--', 'echo', 'here'), 'here\n');
  });

  it('says what is up when it is started a second time', async () => {
    const again = await cluster.up();
    assert.equal(again.exitCode, 0, again.stderr);
    assert.match(again.stdout, /berth is up/);
  });

  it('leaves nothing behind after down --purge', async () => {
    const { instance, runDir, stateDir, configDir } = cluster.layout;
    const state = await readRunState(cluster.layout.stateFile);
    const down = await cluster.berth(['down', '--purge', '--instance', instance]);
    assert.equal(down.exitCode, 0, down.stderr);
    for (const dir of [runDir, stateDir, configDir]) assert.equal(existsSync(dir), false, dir);
    assert.deepEqual(state?.processes.filter(isAlive), []);
    const commands = readdirSync('/proc')
      .filter((entry) => /^\d+$/.test(entry))
      .map((pid) => {
        try {
          return readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
        } catch {
          return '';
        }
      });
    assert.deepEqual(
      commands.filter((command) => command.includes(`/run/${instance}/`) || command.includes(`/etc/${instance}/`)),
      [],
    );
    assert.equal(readFileSync('/proc/self/mountinfo', 'utf8').includes(`/${instance}/`), false);
    const rules = await cluster.namespace.exec('iptables-save', []);
    assert.doesNotMatch(rules.stdout, /KUBE-|BERTH-|CNI-[0-9a-f]/);
    const links = await cluster.namespace.exec('ip', ['-o', 'link']);
    assert.doesNotMatch(links.stdout, /veth|bt-/);
    assert.equal((await systemExec('find', ['/sys/fs/cgroup', '-maxdepth', '2', '-name', `${instance}*`])).stdout, '');
    assert.equal((await cluster.berth(['down', '--instance', instance])).stdout, 'nothing was up\n');
  });
});

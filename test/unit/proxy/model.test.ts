import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Service } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import { conntrackArguments } from '../../../proxy/apply/conntrack.ts';
import { isHealthy } from '../../../proxy/health/health-server.ts';
import { computeServicePorts } from '../../../proxy/model/service-port.ts';
import { computeServiceState } from '../../../proxy/model/service-state.ts';
import { planConntrackCleanup, planStaleFlows } from '../../../proxy/plan/plan-conntrack.ts';

const node = { nodeName: 'a', zone: 'z1' };

function service(spec: Partial<Service['spec']> = {}, metadata: object = {}): Service {
  return {
    apiVersion: 'v1',
    kind: 'Service',
    metadata: { name: 's', namespace: 'n', ...metadata },
    spec: {
      type: 'ClusterIP',
      clusterIP: '10.0.0.1',
      clusterIPs: ['10.0.0.1'],
      ports: [{ name: 'p', port: 80, protocol: 'TCP' }],
      ...spec,
    },
  };
}

type Endpoint = NonNullable<EndpointSlice['endpoints']>[number];

function slice(
  endpoints: Endpoint[],
  ports: EndpointSlice['ports'] = [{ name: 'p', port: 8080, protocol: 'TCP' }],
): EndpointSlice {
  return {
    apiVersion: 'discovery.k8s.io/v1',
    kind: 'EndpointSlice',
    metadata: { name: 'x' },
    addressType: 'IPv4',
    endpoints,
    ports,
  };
}

const ready = (ip: string, extra: Partial<Endpoint> = {}): Endpoint => ({
  addresses: [ip],
  conditions: { ready: true },
  ...extra,
});
const draining = (ip: string, nodeName = 'b'): Endpoint => ({
  addresses: [ip],
  conditions: { ready: false, serving: true, terminating: true },
  nodeName,
});

function selected(spec: Partial<Service['spec']>, endpoints: Endpoint[]) {
  const [state] = computeServiceState(service(spec), [slice(endpoints)], 'IPv4', node).values();
  assert.ok(state);
  const ips = (list: { ip: string }[]) => list.map(({ ip }) => ip);
  const { cluster, local, reachable, any } = state.endpoints;
  return { cluster: ips(cluster), local: ips(local), reachable: ips(reachable), any };
}

describe('computeServicePorts', () => {
  it('ignores headless and external-name services and those of other proxies', () => {
    assert.deepEqual(computeServicePorts(service({ clusterIP: 'None', clusterIPs: ['None'] }), 'IPv4'), []);
    assert.deepEqual(computeServicePorts(service({ type: 'ExternalName' }), 'IPv4'), []);
    assert.deepEqual(
      computeServicePorts(service({}, { labels: { 'service.kubernetes.io/service-proxy-name': 'x' } }), 'IPv4'),
      [],
    );
  });

  it('answers nothing for a family the service has no address of', () => {
    assert.deepEqual(computeServicePorts(service(), 'IPv6'), []);
  });

  it('names an unnamed port without a colon', () => {
    assert.equal(computeServicePorts(service({ ports: [{ port: 80 }] }), 'IPv4')[0]?.name, 'n/s');
  });
});

describe('selecting endpoints', () => {
  it('takes the ready ones', () => {
    const unready: Endpoint = { addresses: ['10.1.0.2'], conditions: { ready: false } };
    assert.deepEqual(selected({}, [ready('10.1.0.1'), unready]), {
      cluster: ['10.1.0.1'],
      local: [],
      reachable: ['10.1.0.1'],
      any: true,
    });
  });

  it('falls back to draining endpoints when none is ready', () => {
    assert.deepEqual(selected({}, [draining('10.1.0.3')]).cluster, ['10.1.0.3']);
    assert.deepEqual(selected({}, [draining('10.1.0.3'), ready('10.1.0.4')]).cluster, ['10.1.0.4']);
  });

  it('keeps internal traffic on the node under the local policy, and knows of endpoints elsewhere', () => {
    const answer = selected({ internalTrafficPolicy: 'Local' }, [ready('10.1.0.1', { nodeName: 'b' })]);
    assert.deepEqual(answer, { cluster: [], local: [], reachable: [], any: true });
    assert.deepEqual(selected({ internalTrafficPolicy: 'Local' }, [ready('10.1.0.1', { nodeName: 'a' })]).local, [
      '10.1.0.1',
    ]);
  });

  it('lets local draining endpoints take external local traffic', () => {
    const spec = {
      type: 'NodePort',
      externalTrafficPolicy: 'Local',
      ports: [{ name: 'p', port: 80, nodePort: 30000, protocol: 'TCP' }],
    };
    const answer = selected(spec, [draining('10.1.0.5', 'a'), ready('10.1.0.6', { nodeName: 'b' })]);
    assert.deepEqual(
      [answer.local, answer.cluster, answer.reachable],
      [['10.1.0.5'], ['10.1.0.6'], ['10.1.0.6', '10.1.0.5']],
    );
  });

  it('follows zone hints only when every endpoint has them', () => {
    const here = ready('10.1.0.1', { hints: { forZones: [{ name: 'z1' }] } });
    const there = ready('10.1.0.2', { hints: { forZones: [{ name: 'z2' }] } });
    assert.deepEqual(selected({}, [here, there]).cluster, ['10.1.0.1']);
    assert.deepEqual(selected({}, [here, ready('10.1.0.3')]).cluster, ['10.1.0.1', '10.1.0.3']);
    assert.deepEqual(selected({}, [there]).cluster, ['10.1.0.2'], 'no hint for this zone: all are used');
  });

  it('prefers hints for this node over those for its zone', () => {
    const hints = (zone: string, nodeName: string) => ({
      hints: { forZones: [{ name: zone }], forNodes: [{ name: nodeName }] },
    });
    assert.deepEqual(selected({}, [ready('10.1.0.1', hints('z1', 'b')), ready('10.1.0.2', hints('z1', 'a'))]).cluster, [
      '10.1.0.2',
    ]);
  });

  it('counts an endpoint once that is in two slices, as ready when one says so', () => {
    const stale: Endpoint = { addresses: ['10.1.0.1'], conditions: { ready: false } };
    const states = computeServiceState(service(), [slice([stale]), slice([ready('10.1.0.1')])], 'IPv4', node);
    assert.deepEqual(
      [...states.values()][0]?.endpoints.cluster.map(({ ip }) => ip),
      ['10.1.0.1'],
    );
  });
});

describe('planConntrackCleanup', () => {
  const udp = { ports: [{ name: 'p', port: 53, nodePort: 30053, protocol: 'UDP' }], type: 'NodePort' };
  const stateOf = (spec: Partial<Service['spec']>, ips: string[]) => {
    const ports = [{ name: 'p', port: 53, protocol: spec.ports?.[0]?.protocol ?? 'UDP' }];
    return [
      ...computeServiceState(
        service(spec),
        [
          slice(
            ips.map((ip) => ready(ip)),
            ports,
          ),
        ],
        'IPv4',
        node,
      ).values(),
    ][0];
  };

  it('deletes flows to an endpoint that is gone, under every address of the service', () => {
    assert.deepEqual(planConntrackCleanup(stateOf(udp, ['10.1.0.1', '10.1.0.2']), stateOf(udp, ['10.1.0.2'])), [
      { family: 'IPv4', originalDestination: '10.0.0.1', destinationPort: 53, endpointIP: '10.1.0.1' },
      { family: 'IPv4', destinationPort: 30053, endpointIP: '10.1.0.1' },
    ]);
  });

  it('leaves flows to an endpoint that is draining, until it no longer answers', () => {
    const draining = { ...ready('10.1.0.1'), conditions: { ready: false, serving: true, terminating: true } };
    const ended = { ...ready('10.1.0.1'), conditions: { ready: false, serving: false, terminating: true } };
    const both = (first: ReturnType<typeof ready>) =>
      [
        ...computeServiceState(
          service(udp),
          [slice([first, ready('10.1.0.2')], [{ name: 'p', port: 53, protocol: 'UDP' }])],
          'IPv4',
          node,
        ).values(),
      ][0];
    const before = both(ready('10.1.0.1'));
    assert.deepEqual(planConntrackCleanup(before, both(draining)), []);
    assert.deepEqual(
      planConntrackCleanup(both(draining), both(ended)).map(({ endpointIP }) => endpointIP),
      ['10.1.0.1', '10.1.0.1'],
    );
  });

  it('deletes flows of a service that is gone', () => {
    assert.equal(planConntrackCleanup(stateOf(udp, ['10.1.0.1']), undefined).length, 2);
  });

  it('deletes untranslated flows when a service gets its first endpoint', () => {
    const deletions = planConntrackCleanup(stateOf(udp, []), stateOf(udp, ['10.1.0.1']));
    assert.deepEqual(
      deletions.map(({ endpointIP }) => endpointIP),
      [undefined, undefined],
    );
  });

  it('leaves TCP and unchanged endpoints alone', () => {
    const tcp = { ports: [{ name: 'p', port: 53, protocol: 'TCP' }] };
    assert.deepEqual(planConntrackCleanup(stateOf(tcp, ['10.1.0.1']), undefined), []);
    assert.deepEqual(planConntrackCleanup(stateOf(udp, ['10.1.0.1']), stateOf(udp, ['10.1.0.1'])), []);
  });

  it('finds flows that go where no endpoint is, and no others, after an absence', () => {
    const ports = [stateOf(udp, ['10.1.0.1'])].flatMap((state) => state ?? []);
    const flow = (destination: string, port: number, answeredFrom: string) => ({ destination, port, answeredFrom });
    const flows = [
      flow('10.0.0.1', 53, '10.1.0.1'),
      flow('10.0.0.1', 53, '10.1.0.9'),
      flow('10.0.0.1', 53, '10.0.0.1'),
      flow('10.0.0.1', 54, '10.1.0.9'),
      flow('192.0.2.1', 30053, '10.1.0.8'),
      flow('198.51.100.1', 30053, '198.51.100.1'),
    ];
    const stale = planStaleFlows(flows, ports, new Set(['192.0.2.1']));
    assert.deepEqual(stale, [
      { family: 'IPv4', originalDestination: '10.0.0.1', destinationPort: 53, endpointIP: '10.1.0.9' },
      { family: 'IPv4', originalDestination: '10.0.0.1', destinationPort: 53 },
      { family: 'IPv4', originalDestination: '192.0.2.1', destinationPort: 30053, endpointIP: '10.1.0.8' },
    ]);
    const empty = [stateOf(udp, [])].flatMap((state) => state ?? []);
    const left = planStaleFlows(flows.slice(0, 3), empty, new Set());
    assert.deepEqual(
      left.map(({ endpointIP }) => endpointIP),
      ['10.1.0.1', '10.1.0.9'],
      'without endpoints translated ones are stale, and untranslated ones are as they must be',
    );
  });

  it('names addresses so that only the stale flow matches', () => {
    const [deletion] = planConntrackCleanup(stateOf(udp, ['10.1.0.1']), undefined);
    assert.ok(deletion);
    assert.deepEqual(conntrackArguments(deletion), [
      '-D',
      '-f',
      'ipv4',
      '-p',
      'udp',
      '--dport',
      '53',
      '--orig-dst',
      '10.0.0.1',
      '--dst-nat',
      '10.1.0.1',
    ]);
  });
});

describe('isHealthy', () => {
  const facts = (lastSync: number, lastPending: number) => ({
    lastSyncMs: () => lastSync,
    lastPendingMs: () => lastPending,
    nodeEligible: () => true,
  });

  it('is false before the first sync', () => assert.equal(isHealthy(facts(0, 0), 1000, 60), false));
  it('is true while nothing waits', () => assert.equal(isHealthy(facts(10, 5), 1_000_000, 60), true));
  it('is true while a change is young', () => assert.equal(isHealthy(facts(10, 990), 1000, 60), true));
  it('is false when a change waits too long', () => assert.equal(isHealthy(facts(10, 20), 1000, 60), false));
});

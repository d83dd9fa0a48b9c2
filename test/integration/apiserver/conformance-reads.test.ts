// What clients rely on when they read: order and resumption of watches, lists in pages, tables, discovery, events.
import assert from 'node:assert/strict';
import { after, before, describe, it } from 'node:test';
import { startApiServer, type TestServer } from './start-api-server.ts';

interface Thing {
  code?: number;
  reason?: string;
  message?: string;
  metadata: {
    name: string;
    namespace?: string;
    labels?: Record<string, string>;
    resourceVersion?: string;
    continue?: string;
    remainingItemCount?: number;
  };
  data?: Record<string, string>;
  items: Thing[];
  rows: { cells: unknown[] }[];
  columnDefinitions: { name: string }[];
  series?: { count: number };
  note?: string;
}

interface Group {
  name: string;
  versions: { groupVersion: string; version: string }[];
  preferredVersion: { groupVersion: string; version: string };
}

interface AggregatedGroup {
  metadata: { name?: string };
  versions: { version: string; resources: { resource: string }[] }[];
}

interface WatchLine {
  type: string;
  object: Thing;
}

const bounds = { timeout: 60_000 };
const maps = '/api/v1/namespaces/default/configmaps';
const templates = '/api/v1/namespaces/default/podtemplates';
const merge = 'application/merge-patch+json';
const strategic = 'application/strategic-merge-patch+json';
const aggregated = { accept: 'application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList' };
const asTable = { accept: 'application/json;as=Table;v=v1;g=meta.k8s.io' };

/** Some of what every cluster serves, as `group/version/plural`. */
const expected = [
  'admissionregistration.k8s.io/v1/validatingwebhookconfigurations',
  'apiextensions.k8s.io/v1/customresourcedefinitions',
  'apiregistration.k8s.io/v1/apiservices',
  'apps/v1/deployments',
  'authentication.k8s.io/v1/tokenreviews',
  'authorization.k8s.io/v1/selfsubjectaccessreviews',
  'autoscaling/v1/horizontalpodautoscalers',
  'autoscaling/v2/horizontalpodautoscalers',
  'batch/v1/jobs',
  'certificates.k8s.io/v1/certificatesigningrequests',
  'coordination.k8s.io/v1/leases',
  'discovery.k8s.io/v1/endpointslices',
  'events.k8s.io/v1/events',
  'networking.k8s.io/v1/ingresses',
  'node.k8s.io/v1/runtimeclasses',
  'policy/v1/poddisruptionbudgets',
  'scheduling.k8s.io/v1/priorityclasses',
  'storage.k8s.io/v1/csinodes',
];

describe('reading', () => {
  let server: TestServer;
  before(async () => {
    server = await startApiServer();
  });
  after(() => server?.close());

  async function call(method: string, path: string, body?: unknown, contentType?: string): Promise<Thing> {
    const answer = await server.call<Thing>(method, path, {
      body,
      ...(contentType === undefined ? {} : { contentType }),
    });
    assert.ok(answer.status < 400, `${method} ${path}: ${answer.text}`);
    return answer.body;
  }
  const get = async <T>(path: string, headers: Record<string, string> = {}): Promise<T> => {
    const answer = await server.call<T>('GET', path, { headers });
    assert.equal(answer.status, 200, answer.text);
    return answer.body;
  };

  /** Events of config maps, as `TYPE name mutation`, until there are as many as wanted. */
  async function eventsOf(query: string, count: number): Promise<WatchLine[]> {
    let seen = 0;
    const lines = await server.stream(`${maps}?watch=true&timeoutSeconds=30&${query}`, (line) => {
      if (line !== '') seen += 1;
      return seen >= count;
    });
    return lines.filter((line) => line !== '').map((line) => JSON.parse(line) as WatchLine);
  }
  const told = (events: readonly WatchLine[]): string[] =>
    events.map(({ type, object: { metadata, data } }) => [type, metadata.name, data?.['mutation'] ?? '-'].join(' '));
  const createMap = (name: string, label: string): Promise<Thing> =>
    call('POST', maps, { metadata: { name, labels: { 'watch-this-configmap': label } } });
  const mutate = (name: string, mutation: string): Promise<Thing> =>
    call('PATCH', `${maps}/${name}`, { data: { mutation } }, merge);
  const selected = (...labels: string[]): string =>
    `labelSelector=${encodeURIComponent(`watch-this-configmap in (${labels.join(',')})`)}`;
  const versionOf = ({ metadata }: Thing): string => metadata.resourceVersion ?? '';

  it('Watchers should observe add, update, and delete watch notifications on configmaps', bounds, async () => {
    const from = `resourceVersion=${versionOf(await call('GET', maps))}`;
    const watching = Promise.all([
      eventsOf(`${selected('notify-a')}&${from}`, 4),
      eventsOf(`${selected('notify-b')}&${from}`, 2),
      eventsOf(`${selected('notify-a', 'notify-b')}&${from}`, 6),
    ]);
    await createMap('notify-a', 'notify-a');
    await mutate('notify-a', '1');
    await mutate('notify-a', '2');
    await call('DELETE', `${maps}/notify-a`);
    await createMap('notify-b', 'notify-b');
    await call('DELETE', `${maps}/notify-b`);
    const [ofA, ofB, ofBoth] = await watching;
    const a = ['ADDED notify-a -', 'MODIFIED notify-a 1', 'MODIFIED notify-a 2', 'DELETED notify-a 2'];
    const b = ['ADDED notify-b -', 'DELETED notify-b -'];
    assert.deepEqual([told(ofA), told(ofB), told(ofBoth)], [a, b, [...a, ...b]]);
  });

  it('Watchers should be able to start watching from a specific resource version', bounds, async () => {
    await createMap('from-version', 'from-version');
    const first = await mutate('from-version', '1');
    await mutate('from-version', '2');
    await call('DELETE', `${maps}/from-version`);
    const events = await eventsOf(`${selected('from-version')}&resourceVersion=${versionOf(first)}`, 2);
    assert.deepEqual(told(events), ['MODIFIED from-version 2', 'DELETED from-version 2']);
  });

  it(
    'Watchers should be able to restart watching from the last resource version observed by the previous watch',
    bounds,
    async () => {
      const start = await call('GET', maps);
      const watching = eventsOf(`${selected('restarted')}&resourceVersion=${versionOf(start)}`, 2);
      await createMap('restarted', 'restarted');
      await mutate('restarted', '1');
      const last = (await watching).at(-1)?.object ?? assert.fail();
      await mutate('restarted', '2');
      const resumed = eventsOf(`${selected('restarted')}&resourceVersion=${versionOf(last)}`, 2);
      await call('DELETE', `${maps}/restarted`);
      assert.deepEqual(told(await resumed), ['MODIFIED restarted 2', 'DELETED restarted 2']);
    },
  );

  it(
    'Watchers should observe an object deletion if it stops meeting the requirements of the selector',
    bounds,
    async () => {
      const from = `resourceVersion=${versionOf(await call('GET', maps))}`;
      const watching = eventsOf(`${selected('in-selection')}&${from}`, 6);
      const label = (value: string) =>
        call('PATCH', `${maps}/relabelled`, { metadata: { labels: { 'watch-this-configmap': value } } }, merge);
      await createMap('relabelled', 'in-selection');
      await mutate('relabelled', '1');
      await label('elsewhere');
      await mutate('relabelled', '2');
      await label('in-selection');
      await mutate('relabelled', '3');
      await call('DELETE', `${maps}/relabelled`);
      assert.deepEqual(told(await watching), [
        'ADDED relabelled -',
        'MODIFIED relabelled 1',
        'DELETED relabelled 1',
        'ADDED relabelled 2',
        'MODIFIED relabelled 3',
        'DELETED relabelled 3',
      ]);
    },
  );

  it('Watchers should receive events on concurrent watches in same order', bounds, async () => {
    const start = versionOf(await call('GET', maps));
    const count = 60;
    const whole = eventsOf(`resourceVersion=${start}`, count);
    const writing = (async () => {
      for (let index = 0; index < count / 3; index += 1) {
        await createMap(`ordered-${index}`, 'ordered');
        await mutate(`ordered-${index}`, String(index));
        await call('DELETE', `${maps}/ordered-${index}`);
      }
    })();
    const versions = (events: readonly WatchLine[]) => events.map(({ object }) => versionOf(object));
    const all = versions(await whole);
    await writing;
    assert.deepEqual(
      all,
      [...all].sort((a, b) => Number(a) - Number(b)),
    );
    const starts = [start, ...all.slice(0, 19)];
    const later = await Promise.all(
      starts.map(async (from, index) => versions(await eventsOf(`resourceVersion=${from}`, count - index))),
    );
    for (const [index, seen] of later.entries()) assert.deepEqual(seen, all.slice(index));
  });

  const createTemplates = async (label: string, count: number): Promise<void> => {
    for (let index = 0; index < count; index += 1) {
      await call('POST', templates, {
        metadata: { name: `${label}-${String(index).padStart(3, '0')}`, labels: { chunk: label } },
        template: { spec: { containers: [{ name: 'test', image: 'test' }] } },
      });
    }
  };

  it('Servers with support for API chunking should return chunks of results for list calls', bounds, async () => {
    const total = 40;
    await createTemplates('chunk', total);
    const page = (limit: number, token: string) =>
      call('GET', `${templates}?labelSelector=chunk%3Dchunk&limit=${limit}&continue=${encodeURIComponent(token)}`);
    for (const limit of [1, 7, 17, 39, 40, 41]) {
      const names: string[] = [];
      let token = '';
      let version: string | undefined;
      do {
        const list = await page(limit, token);
        assert.ok(list.items.length <= limit);
        names.push(...list.items.map(({ metadata }) => metadata.name));
        version ??= list.metadata.resourceVersion;
        assert.equal(list.metadata.resourceVersion, version);
        token = list.metadata.continue ?? '';
        const left = list.metadata.remainingItemCount;
        if (left !== undefined) assert.equal(left + names.length, total);
      } while (token !== '');
      assert.equal(names.length, total);
      assert.deepEqual(names, [...names].sort());
    }
    assert.equal((await call('GET', `${templates}?labelSelector=chunk%3Dchunk`)).items.length, total);
  });

  it(
    'Servers with support for API chunking should support continue listing from the last key if the original version has been compacted away, though the list is inconsistent',
    bounds,
    async () => {
      await createTemplates('compacted', 8);
      const path = `${templates}?limit=3&labelSelector=chunk%3Dcompacted`;
      const first = await call('GET', path);
      await call('DELETE', `${templates}/compacted-005`);
      await server.compact();
      const token = encodeURIComponent(first.metadata.continue ?? '');
      const expired = await server.call<Thing>('GET', `${path}&continue=${token}`);
      assert.deepEqual([expired.status, expired.body.reason], [410, 'Expired']);
      const inconsistent = expired.body.metadata.continue ?? '';
      assert.notEqual(inconsistent, '');
      const second = await call('GET', `${path}&continue=${encodeURIComponent(inconsistent)}`);
      const rest = await call('GET', `${path}&continue=${encodeURIComponent(second.metadata.continue ?? '')}`);
      assert.equal(rest.metadata.continue, undefined);
      assert.equal(rest.metadata.resourceVersion, second.metadata.resourceVersion);
      assert.deepEqual(
        [...first.items, ...second.items, ...rest.items].map(({ metadata }) => metadata.name.slice(-1)),
        ['0', '1', '2', '3', '4', '6', '7'],
      );
    },
  );

  it(
    'Servers with support for Table transformation should return a 406 for a backend which does not implement metadata',
    bounds,
    async () => {
      const review = {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: { resourceAttributes: { verb: 'get', resource: 'pods' } },
      };
      const answer = await server.call<Thing>('POST', '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews', {
        body: review,
        headers: asTable,
      });
      assert.deepEqual([answer.status, answer.body.reason], [406, 'NotAcceptable']);
    },
  );

  it('Discovery should validate PreferredVersion for each APIGroup', bounds, async () => {
    const { groups } = await get<{ groups: Group[] }>('/apis');
    assert.ok(groups.length > 15);
    for (const { name } of groups) {
      const group = await get<Group>(`/apis/${name}`);
      assert.equal(group.name, name);
      assert.ok(group.versions.some(({ version }) => version === group.preferredVersion.version));
      assert.equal(group.preferredVersion.groupVersion, `${name}/${group.preferredVersion.version}`);
    }
  });

  it('Discovery should locate the groupVersion and a resource within each APIGroup', bounds, async () => {
    for (const each of ['v1/namespaces', ...expected]) {
      const [name = '', groupVersion = ''] =
        each.match(/^(.*)\/[^/]+$/) === null ? [] : [each.split('/')[0], each.replace(/\/[^/]+$/, '')];
      const isCore = groupVersion === 'v1';
      if (isCore) {
        assert.ok((await get<{ versions: string[] }>('/api')).versions.includes('v1'));
      } else {
        const group = await get<Group>(`/apis/${name}`);
        assert.ok(group.versions.some((version) => version.groupVersion === groupVersion));
      }
      const list = await get<{ kind: string; groupVersion: string; resources: { name: string }[] }>(
        isCore ? '/api/v1' : `/apis/${groupVersion}`,
      );
      assert.deepEqual([list.kind, list.groupVersion], ['APIResourceList', groupVersion]);
      assert.ok(list.resources.some((resource) => resource.name === each.split('/').at(-1)));
    }
  });

  /** All of an aggregated document as `group/version/plural`. */
  const served = async (path: string): Promise<string[]> => {
    const { items } = await get<{ items: AggregatedGroup[] }>(path, aggregated);
    return items.flatMap(({ metadata, versions }) =>
      versions.flatMap(({ version, resources }) =>
        resources.map(({ resource }) =>
          [metadata.name ?? '', version, resource].filter((part) => part !== '').join('/'),
        ),
      ),
    );
  };

  for (const name of [
    'AggregatedDiscovery should support raw aggregated discovery endpoint Accept headers',
    'AggregatedDiscovery should support aggregated discovery interface',
  ]) {
    it(name, bounds, async () => {
      const groups = await served('/apis');
      assert.deepEqual(
        expected.filter((each) => !groups.includes(each)),
        [],
      );
      assert.ok((await served('/api')).includes('v1/namespaces'));
    });
  }

  for (const [index, name] of [
    'AggregatedDiscovery should support raw aggregated discovery request for CRDs',
    'AggregatedDiscovery should support aggregated discovery interface for CRDs',
  ].entries()) {
    it(name, bounds, async () => {
      const group = `group${index}.example.com`;
      await call('POST', '/apis/apiextensions.k8s.io/v1/customresourcedefinitions', {
        metadata: { name: `testcrds.${group}` },
        spec: {
          group,
          scope: 'Namespaced',
          names: { plural: 'testcrds', kind: 'testcrd' },
          versions: [
            {
              name: 'v1',
              served: true,
              storage: true,
              schema: { openAPIV3Schema: { type: 'object', 'x-kubernetes-preserve-unknown-fields': true } },
            },
          ],
        },
      });
      const deadline = Date.now() + 30_000;
      while (!(await served('/apis')).includes(`${group}/v1/testcrds`)) assert.ok(Date.now() < deadline);
    });
  }

  it('server version should find the server version', bounds, async () => {
    const version = await get<Record<string, string>>('/version');
    assert.match(version['major'] ?? '', /^[0-9]+$/);
    assert.match((version['minor'] ?? '').replace(/[^0-9].*$/, ''), /^[0-9]+$/);
    assert.match(version['gitVersion'] ?? '', /^v1\./);
  });

  const newEvent = (name: string, label: string) => ({
    metadata: { name, labels: { [label]: 'true' } },
    regarding: { namespace: 'default' },
    eventTime: '2017-09-19T13:49:16.000000Z',
    note: `This is ${name}`,
    action: 'Do',
    reason: 'Test',
    type: 'Normal',
    reportingController: 'test-controller',
    reportingInstance: 'test-node',
  });
  const coreEvent = (name: string, label: string) => ({
    metadata: { name, labels: { [label]: 'true' } },
    involvedObject: { namespace: 'default' },
    message: `This is ${name}`,
    reason: 'Test',
    type: 'Normal',
    count: 1,
    source: { component: 'test-component' },
  });

  it('Events API should ensure that an event can be fetched, patched, deleted, and listed', bounds, async () => {
    const inNamespace = '/apis/events.k8s.io/v1/namespaces/default/events';
    const path = `${inNamespace}/event-test`;
    const names = async (list: string) => (await call('GET', list)).items.map(({ metadata }) => metadata.name);
    await call('POST', inNamespace, newEvent('event-test', 'testevent-constant'));
    const lists = [
      '/apis/events.k8s.io/v1/events?labelSelector=testevent-constant%3Dtrue',
      `${inNamespace}?labelSelector=testevent-constant%3Dtrue`,
    ];
    for (const list of [
      ...lists,
      '/api/v1/namespaces/default/events?fieldSelector=source%3Dtest-controller',
      `${inNamespace}?fieldSelector=reportingController%3Dtest-controller`,
    ])
      assert.deepEqual(await names(list), ['event-test'], list);
    const withoutBookkeeping = ({ metadata: { resourceVersion, ...metadata }, ...rest }: Thing) => {
      Reflect.deleteProperty(metadata, 'managedFields');
      return { ...rest, metadata };
    };
    const before = withoutBookkeeping(await call('GET', path));
    await call('PATCH', path, { note: 'patched' }, strategic);
    const patched = await call('GET', path);
    assert.deepEqual(withoutBookkeeping(patched), { ...before, note: 'patched' });
    const series = { count: 100, lastObservedTime: '2017-09-19T13:49:16.000000Z' };
    await call('PUT', path, { ...patched, series });
    assert.deepEqual(withoutBookkeeping(await call('GET', path)), { ...before, note: 'patched', series });
    await call('DELETE', path);
    for (const list of lists) assert.deepEqual(await names(list), []);
  });

  for (const [name, path, event] of [
    ['Events API should delete a collection of events', '/apis/events.k8s.io/v1/namespaces/default/events', newEvent],
    ['Events should delete a collection of events', '/api/v1/namespaces/default/events', coreEvent],
  ] as const) {
    it(name, bounds, async () => {
      const selector = `${path}?labelSelector=testevent-set%3Dtrue`;
      for (const each of ['test-event-1', 'test-event-2', 'test-event-3'])
        await call('POST', path, event(each, 'testevent-set'));
      await call('POST', path, event('test-event-4', 'another-set'));
      assert.equal((await call('GET', selector)).items.length, 3);
      await call('DELETE', selector);
      assert.deepEqual((await call('GET', selector)).items, []);
      await call('DELETE', `${path}/test-event-4`);
    });
  }

  it('Events should manage the lifecycle of an event', bounds, async () => {
    const path = '/api/v1/namespaces/default/events';
    const everywhere = '/api/v1/events?labelSelector=testevent-constant%3Dtrue';
    await call('POST', path, coreEvent('lifecycle', 'testevent-constant'));
    const listed = await call('GET', everywhere);
    assert.deepEqual(
      listed.items.map(({ metadata }) => [metadata.namespace, metadata.name]),
      [['default', 'lifecycle']],
    );
    await call('PATCH', `${path}/lifecycle`, { message: 'patched' }, strategic);
    const patched = (await call('GET', `${path}/lifecycle`)) as Thing & Record<string, unknown>;
    assert.equal(patched.message, 'patched');
    const series = { count: 100, lastObservedTime: '2017-09-19T13:49:16.000000Z' };
    await call('PUT', `${path}/lifecycle`, { ...patched, series });
    assert.deepEqual((await call('GET', `${path}/lifecycle`)).series, series);
    await call('DELETE', `${path}/lifecycle`);
    assert.deepEqual((await call('GET', everywhere)).items, []);
  });
});

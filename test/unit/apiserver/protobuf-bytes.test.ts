// Bytes put together by the rules of the wire alone, with the field numbers of the API written out: a Pod and a Deployment
// as stock clients send them (every plain field, zeros too), and as they are answered.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { createProtobufCodec } from '../../../control-plane-lite/apiserver/protobuf/protobuf-codec.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';

const codec = createProtobufCodec(loadSchema());

function varint(value: number): number[] {
  return value < 128 ? [value] : [(value % 128) | 128, ...varint(Math.floor(value / 128))];
}

const message = (field: number, ...parts: number[][]): number[] => {
  const inner = parts.flat();
  return [...varint(field * 8 + 2), ...varint(inner.length), ...inner];
};
const text = (field: number, value: string): number[] => message(field, [...Buffer.from(value)]);
const number = (field: number, value: number): number[] => [...varint(field * 8), ...varint(value)];

const body = (apiVersion: string, kind: string, ...parts: number[][]): Buffer =>
  Buffer.from([
    ...Buffer.from('k8s\0'),
    ...message(1, text(1, apiVersion), text(2, kind)),
    ...message(2, ...parts),
    ...text(3, ''),
    ...text(4, ''),
  ]);

const quantity = (key: string, value: string) => [text(1, key), message(2, text(1, value))];
const named = (name: string) => message(1, text(1, name));
/** ObjectMeta with what stock clients always write: generateName, namespace, selfLink, uid, and so on. */
const namedInFull = (name: string) =>
  message(1, text(1, name), text(2, ''), text(3, ''), text(4, ''), text(5, ''), text(6, ''), number(7, 0), message(8));

describe('a Pod', () => {
  const pod = {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'a' },
    spec: {
      containers: [
        {
          name: 'c',
          image: 'i',
          ports: [{ name: 'http', containerPort: 8080, protocol: 'TCP' }],
          resources: { limits: { cpu: '500m' }, requests: { cpu: '250m', memory: '64Mi' } },
          readinessProbe: { httpGet: { path: '/', port: 'http' }, timeoutSeconds: 1 },
        },
      ],
      terminationGracePeriodSeconds: 0,
    },
    status: {},
  };
  const resources = message(
    8,
    message(1, ...quantity('cpu', '500m')),
    message(2, ...quantity('cpu', '250m')),
    message(2, ...quantity('memory', '64Mi')),
  );

  it('is read as stock clients send it', () => {
    const port = message(6, text(1, 'http'), number(2, 0), number(3, 8080), text(4, 'TCP'), text(5, ''));
    const httpGet = message(
      2,
      text(1, '/'),
      message(2, number(1, 1), number(2, 0), text(3, 'http')),
      text(3, ''),
      text(4, ''),
    );
    const probe = message(
      11,
      message(1, httpGet),
      number(2, 0),
      number(3, 1),
      number(4, 0),
      number(5, 0),
      number(6, 0),
    );
    const flags = [number(16, 0), number(17, 0), number(18, 0)];
    const container = message(
      2,
      text(1, 'c'),
      text(2, 'i'),
      text(5, ''),
      port,
      resources,
      probe,
      text(13, ''),
      text(14, ''),
      ...flags,
      text(20, ''),
    );
    const spec = message(
      2,
      container,
      text(3, ''),
      number(4, 0),
      text(6, ''),
      text(8, ''),
      text(9, ''),
      text(10, ''),
      number(11, 0),
      number(12, 0),
      number(13, 0),
      text(16, ''),
      text(17, ''),
      text(19, ''),
      text(24, ''),
    );
    const status = message(3, text(1, ''), text(3, ''), text(4, ''), text(5, ''), text(6, ''), text(9, ''));
    assert.deepEqual(codec.decode(body('v1', 'Pod', namedInFull('a'), spec, status)), pod);
  });

  it('is answered with what is set', () => {
    const port = message(6, text(1, 'http'), number(3, 8080), text(4, 'TCP'));
    const httpGet = message(2, text(1, '/'), message(2, number(1, 1), number(2, 0), text(3, 'http')));
    const probe = message(11, message(1, httpGet), number(3, 1));
    const container = message(2, text(1, 'c'), text(2, 'i'), port, resources, probe);
    const expected = body('v1', 'Pod', named('a'), message(2, container, number(4, 0)), message(3));
    assert.equal(codec.encode(pod).toString('hex'), expected.toString('hex'));
  });
});

describe('a Deployment', () => {
  const deployment = {
    apiVersion: 'apps/v1',
    kind: 'Deployment',
    metadata: { name: 'd', creationTimestamp: '2026-01-01T00:00:00Z' },
    spec: {
      replicas: 0,
      selector: { matchLabels: { app: 'w' } },
      template: { metadata: { labels: { app: 'w' } }, spec: {} },
      strategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '25%', maxSurge: 0 } },
    },
    status: {},
  };
  const label = [text(1, 'app'), text(2, 'w')];
  const surge = message(2, number(1, 0), number(2, 0), text(3, ''));
  const unavailable = message(1, number(1, 1), number(2, 0), text(3, '25%'));
  const strategy = message(4, text(1, 'RollingUpdate'), message(2, unavailable, surge));
  const time = message(8, number(1, 1_767_225_600), number(2, 0));

  it('is answered with its quantities, times and numbers or texts', () => {
    const expected = body(
      'apps/v1',
      'Deployment',
      message(1, text(1, 'd'), time),
      message(
        2,
        number(1, 0),
        message(2, message(1, ...label)),
        message(3, message(1, message(11, ...label)), message(2)),
        strategy,
      ),
      message(3),
    );
    assert.equal(codec.encode(deployment).toString('hex'), expected.toString('hex'));
    assert.deepEqual(codec.decode(expected), deployment);
  });
});

describe('frames of watches', () => {
  it('are a length, and an event around a body', () => {
    const inner = codec.encode({ apiVersion: 'v1', kind: 'Status', metadata: {}, code: 410 });
    const event = [...text(1, 'ERROR'), ...message(2, message(1, [...inner]))];
    const frame = codec.frameEvent('ERROR', inner);
    assert.equal(frame.readUInt32BE(0), event.length);
    assert.deepEqual([...frame.subarray(4)], event);
  });
});

// Bodies in the API's protobuf form become the JSON form, field by field.
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import protobuf from 'protobufjs';
import { createProtobufCodec } from '../../../control-plane-lite/apiserver/protobuf/protobuf-codec.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';

const codec = createProtobufCodec(loadSchema());
const data = new URL('../../../control-plane-lite/apiserver/protobuf/data/kubernetes-api.json', import.meta.url);
const root = protobuf.Root.fromJSON(JSON.parse(readFileSync(data, 'utf8')));

/** A body as clients send it: the prefix, then the object in its envelope. */
function encode(apiVersion: string, kind: string, type: string, object: object): Buffer {
  const message = root.lookupType(type);
  const raw = message.encode(message.fromObject(object)).finish();
  const envelope = root.lookupType('k8s.io.apimachinery.pkg.runtime.Unknown');
  const bytes = envelope.encode(envelope.fromObject({ typeMeta: { apiVersion, kind }, raw })).finish();
  return Buffer.concat([Buffer.from('k8s\0'), bytes]);
}

describe('protobuf bodies', () => {
  it('carry metadata, times and maps', () => {
    const metadata = {
      name: 'n',
      labels: { a: 'b' },
      creationTimestamp: { seconds: 1_767_225_600 },
      generation: 0,
      namespace: '',
    };
    assert.deepEqual(codec.decode(encode('v1', 'Namespace', 'k8s.io.api.core.v1.Namespace', { metadata })), {
      kind: 'Namespace',
      apiVersion: 'v1',
      metadata: { name: 'n', labels: { a: 'b' }, creationTimestamp: '2026-01-01T00:00:00Z' },
    });
  });

  it('inline the structs that JSON inlines, and keep zeros that mean something', () => {
    const spec = {
      replicas: 0,
      minReadySeconds: 0,
      strategy: { rollingUpdate: { maxSurge: { type: 0, intVal: 0 }, maxUnavailable: { type: 1, strVal: '25%' } } },
      selector: { matchLabels: { a: 'b' } },
      template: {
        spec: {
          volumes: [{ name: 'v', volumeSource: { emptyDir: { sizeLimit: { string: '1Gi' } } } }],
          containers: [
            {
              name: 'c',
              readinessProbe: {
                handler: { httpGet: { path: '/', port: { type: 1, strVal: 'http' } } },
                timeoutSeconds: 2,
              },
              livenessProbe: { handler: { tcpSocket: { port: { type: 0, intVal: 80 } } } },
              env: [
                {
                  name: 'E',
                  valueFrom: { secretKeyRef: { localObjectReference: { name: 's' }, key: 'k', optional: false } },
                },
              ],
              resources: { requests: { cpu: { string: '100m' } } },
            },
          ],
        },
      },
    };
    const decoded = codec.decode(encode('apps/v1', 'Deployment', 'k8s.io.api.apps.v1.Deployment', { spec }));
    assert.deepEqual(decoded['spec'], {
      replicas: 0,
      strategy: { rollingUpdate: { maxSurge: 0, maxUnavailable: '25%' } },
      selector: { matchLabels: { a: 'b' } },
      template: {
        spec: {
          volumes: [{ name: 'v', emptyDir: { sizeLimit: '1Gi' } }],
          containers: [
            {
              name: 'c',
              readinessProbe: { httpGet: { path: '/', port: 'http' }, timeoutSeconds: 2 },
              livenessProbe: { tcpSocket: { port: 80 } },
              env: [{ name: 'E', valueFrom: { secretKeyRef: { name: 's', key: 'k', optional: false } } }],
              resources: { requests: { cpu: '100m' } },
            },
          ],
        },
      },
    });
  });

  it('carry bytes as base64', () => {
    const secret = encode('v1', 'Secret', 'k8s.io.api.core.v1.Secret', {
      data: { a: Buffer.from('b') },
      type: 'Opaque',
    });
    assert.deepEqual(codec.decode(secret)['data'], { a: 'Yg==' });
  });

  it('carry the options of deletions', () => {
    const type = 'k8s.io.apimachinery.pkg.apis.meta.v1.DeleteOptions';
    const options = codec.decode(
      encode('v1', 'DeleteOptions', type, { gracePeriodSeconds: 0, propagationPolicy: 'Orphan' }),
    );
    assert.deepEqual([options['gracePeriodSeconds'], options['propagationPolicy']], [0, 'Orphan']);
  });

  it('are refused without the prefix, and for kinds that have no such form', () => {
    assert.throws(() => codec.decode(Buffer.from('xxxx')), /its prefix is wrong/);
    const custom = encode('example.com/v1', 'Foo', 'k8s.io.api.core.v1.Namespace', {});
    assert.throws(() => codec.decode(custom), /is not accepted as protobuf: send it as JSON/);
  });
});

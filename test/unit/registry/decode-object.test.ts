// Checking and cleaning objects against the schema.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { decodeObject } from '../../../control-plane-lite/registry/decode-object.ts';
import { loadSchema } from '../../../control-plane-lite/registry/schema.ts';

const schema = loadSchema();
const typeOf = (group: string, kind: string) => schema.typeOf({ group, version: 'v1', kind });
const deployment = typeOf('apps', 'Deployment');
const pod = typeOf('', 'Pod');
const secret = typeOf('', 'Secret');

describe('decoding', () => {
  it('reports and drops fields that the schema does not know', () => {
    const object = { metadata: { name: 'p', nope: 1 }, spec: { containers: [{ name: 'c', image: 'i', wrong: {} }] } };
    assert.deepEqual(decodeObject(object, pod), ['metadata.nope', 'spec.containers[0].wrong']);
    assert.deepEqual(object, { metadata: { name: 'p' }, spec: { containers: [{ name: 'c', image: 'i' }] } });
  });

  it('drops nulls and empty optional collections', () => {
    const object = { metadata: { name: 'p', labels: {}, finalizers: [] }, spec: { nodeName: null, containers: [] } };
    decodeObject(object, pod);
    assert.deepEqual(object, { metadata: { name: 'p' }, spec: { containers: [] } });
  });

  it('adds the structs that are always there, and nothing to a partial object', () => {
    const whole: Record<string, unknown> = { metadata: {} };
    decodeObject(whole, deployment);
    assert.deepEqual(whole['spec'], { template: { spec: { containers: [] } } });
    const partial = { metadata: { labels: {} } };
    decodeObject(partial, deployment, true);
    assert.deepEqual(partial, { metadata: { labels: {} } });
  });

  it('takes a null in a list for the zero value of its items, and fills in what every item has', () => {
    const object = { spec: { containers: [null], nodeSelector: { a: null } } };
    decodeObject(object, pod);
    assert.deepEqual(object.spec, { containers: [{ name: '' }], nodeSelector: { a: '' } });
  });

  it('keeps empty structs, which mean something', () => {
    const object = { spec: { containers: [], volumes: [{ name: 'v', emptyDir: {} }] } };
    decodeObject(object, pod);
    assert.deepEqual(object.spec.volumes, [{ name: 'v', emptyDir: {} }]);
  });

  const wrong: [string, object, typeof pod, RegExp][] = [
    [
      'a text for a number',
      { spec: { replicas: 'x' } },
      deployment,
      /json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32/,
    ],
    [
      'a number for a text',
      { metadata: { name: 1 } },
      pod,
      /json: cannot unmarshal number into Go struct field ObjectMeta.metadata.name of type string/,
    ],
    [
      'an object for a list',
      { spec: { containers: {} } },
      pod,
      /json: cannot unmarshal object into Go struct field PodSpec.spec.containers of type \[\]v1.Container/,
    ],
    ['a fraction for a number', { spec: { replicas: 1.5 } }, deployment, /cannot unmarshal number 1.5 into/],
    ['bytes that are not base64', { data: { a: '%%%' } }, secret, /illegal base64 data at input byte 0/],
    ['a time that is none', { metadata: { creationTimestamp: 'soon' } }, pod, /parsing time "soon" as/],
  ];
  for (const [name, object, type, message] of wrong) {
    it(`refuses ${name} in the reference's words`, () => {
      assert.throws(() => decodeObject(structuredClone(object) as Record<string, unknown>, type), { message });
    });
  }

  it('takes quantities and ports as texts and as numbers', () => {
    const resources = { requests: { cpu: 1, memory: '1Gi' } };
    const object = { spec: { containers: [{ name: 'c', resources, readinessProbe: { httpGet: { port: 80 } } }] } };
    assert.deepEqual(decodeObject(object, pod), []);
  });
});

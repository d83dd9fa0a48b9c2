import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EndpointSubset, Endpoints } from '#kube/api/generated/core-v1.ts';
import type { EndpointSlice } from '#kube/api/generated/discovery-v1.ts';
import {
  computeMirror,
  isMirrored,
} from '../../../control-plane-lite/controllers/endpoint-slice-mirroring/compute-mirror.ts';

function object(subsets: EndpointSubset[], labels: Record<string, string> = {}): Endpoints {
  return {
    apiVersion: 'v1',
    kind: 'Endpoints',
    metadata: { name: 'db', namespace: 'default', uid: 'u', labels },
    subsets,
  };
}

function stored(source: Endpoints): EndpointSlice[] {
  return computeMirror(source, []).create.map(
    (draft, index): EndpointSlice => ({
      ...draft,
      apiVersion: 'discovery.k8s.io/v1',
      kind: 'EndpointSlice',
      metadata: { ...draft.metadata, name: `db-${index}` },
    }),
  );
}

const ports = [{ name: 'sql', port: 5432 }];

test('mirrors ready and other addresses of both families', () => {
  const source = object([
    { addresses: [{ ip: '10.0.0.1' }, { ip: 'fd00::1' }], notReadyAddresses: [{ ip: '10.0.0.2' }], ports },
  ]);
  const shown = computeMirror(source, []).create.map(({ addressType, endpoints }) => [
    addressType,
    endpoints?.map(({ addresses, conditions }) => [addresses[0], conditions?.ready]),
  ]);
  assert.deepEqual(shown, [
    [
      'IPv4',
      [
        ['10.0.0.1', true],
        ['10.0.0.2', false],
      ],
    ],
    ['IPv6', [['fd00::1', true]]],
  ]);
});

test('changes nothing when nothing changed, and updates in place otherwise', () => {
  const source = object([{ addresses: [{ ip: '10.0.0.1' }], ports }]);
  const slices = stored(source);
  assert.deepEqual(computeMirror(source, slices), { create: [], update: [], delete: [] });
  const moved = computeMirror(object([{ addresses: [{ ip: '10.0.0.9' }], ports }]), slices);
  assert.deepEqual([moved.create.length, moved.update.length, moved.delete.length], [0, 1, 0]);
  assert.equal(computeMirror(object([]), slices).delete.length, 1);
});

test('leaves alone what has an owner of its own or is marked', () => {
  assert.equal(isMirrored(object([])), true);
  assert.equal(isMirrored(object([], { 'endpointslice.kubernetes.io/skip-mirror': 'true' })), false);
  assert.equal(isMirrored(object([], { 'endpoints.kubernetes.io/managed-by': 'endpoint-controller' })), false);
});

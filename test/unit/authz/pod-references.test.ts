// What a pod needs its node to read.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { podReferences } from '../../../control-plane-lite/authz/node/pod-references.ts';

it('finds every object that a pod refers to, once', () => {
  const references = podReferences({
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: { name: 'p', namespace: 'a' },
    spec: {
      serviceAccountName: 'sa',
      imagePullSecrets: [{ name: 'pull' }],
      containers: [
        {
          name: 'c',
          env: [{ name: 'A', valueFrom: { secretKeyRef: { name: 'env', key: 'k' } } }],
          envFrom: [{ configMapRef: { name: 'from' } }],
        },
      ],
      initContainers: [{ name: 'i', envFrom: [{ configMapRef: { name: 'from' } }] }],
      volumes: [
        { name: '1', secret: { secretName: 'mounted' } },
        { name: '2', projected: { sources: [{ configMap: { name: 'projected' } }] } },
        { name: '3', persistentVolumeClaim: { claimName: 'claim' } },
        { name: '4', ephemeral: {} },
      ],
    },
  });
  assert.deepEqual([...references].sort(), [
    'configmaps/a/from',
    'configmaps/a/projected',
    'persistentvolumeclaims/a/claim',
    'persistentvolumeclaims/a/p-4',
    'secrets/a/env',
    'secrets/a/mounted',
    'secrets/a/pull',
    'serviceaccounts/a/sa',
  ]);
});

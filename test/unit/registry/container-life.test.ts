import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { Container, PodSpec } from '#kube/api/generated/core-v1.ts';
import {
  validateContainerLife,
  validateHostnameOverride,
} from '../../../control-plane-lite/registry/validation/container-life-validation.ts';

function texts(container: Partial<Container>, spec: Partial<PodSpec> = {}): string[] {
  const own: Container = { name: 'c', ...container };
  return validateContainerLife('c', own, { containers: [own], ...spec }).map(
    ({ field, message }) => `${field}: ${message}`,
  );
}

const rule = (action: string, operator = 'In', values = [1]) => ({ action, exitCodes: { operator, values } });

describe('the life of containers, as the API server checks it', () => {
  const table: [string, Partial<Container>, Partial<PodSpec>, string[]][] = [
    ['allows rules with a policy', { restartPolicy: 'Never', restartPolicyRules: [rule('Restart')] }, {}, []],
    [
      'wants a policy beside rules',
      { restartPolicyRules: [rule('RestartAllContainers', 'NotIn')] },
      {},
      ['c.restartPolicy: Required value: must specify restartPolicy when restart rules are used'],
    ],
    [
      'refuses other actions and operators',
      { restartPolicy: 'Never', restartPolicyRules: [rule('Stop', 'Is')] },
      {},
      [
        'c.restartPolicyRules[0].action: Unsupported value: "Stop": supported values: "Restart", "RestartAllContainers"',
        'c.restartPolicyRules[0].exitCodes.operator: Unsupported value: "Is": supported values: "In", "NotIn"',
      ],
    ],
    [
      'wants exit codes',
      { restartPolicy: 'Never', restartPolicyRules: [{ action: 'Restart' }] },
      {},
      ['c.restartPolicyRules[0].exitCodes: Required value: must be specified'],
    ],
    [
      'refuses a policy twice, and restarts in pods that must not restart',
      {
        resizePolicy: [
          { resourceName: 'cpu', restartPolicy: 'NotRequired' },
          { resourceName: 'cpu', restartPolicy: 'RestartContainer' },
        ],
      },
      { restartPolicy: 'Never' },
      [
        'c.resizePolicy[1]: Duplicate value: "cpu"',
        "c.resizePolicy: Invalid value: \"RestartContainer\": must be 'NotRequired' when `restartPolicy` is 'Never'",
      ],
    ],
    ['allows stop signals of the system', { lifecycle: { stopSignal: 'SIGUSR1' } }, { os: { name: 'linux' } }, []],
    ['allows real-time signals', { lifecycle: { stopSignal: 'SIGRTMIN+3' } }, { os: { name: 'linux' } }, []],
    [
      'wants to know the system for a stop signal',
      { lifecycle: { stopSignal: 'SIGUSR1' } },
      {},
      ['c.lifecycle.stopSignal: Forbidden: may not be set for containers with empty `spec.os.name`'],
    ],
  ];
  for (const [name, container, spec, expected] of table) {
    it(name, () => assert.deepEqual(texts(container, spec), expected));
  }

  it('refuses signals that the system does not have', () => {
    assert.equal(texts({ lifecycle: { stopSignal: 'SIGNONE' } }, { os: { name: 'linux' } }).length, 1);
    assert.equal(texts({ lifecycle: { stopSignal: 'SIGUSR1' } }, { os: { name: 'windows' } }).length, 1);
  });

  it('refuses a host name of its own for a pod that has the name of the node', () => {
    const errors = validateHostnameOverride('h', { containers: [], hostnameOverride: 'a', hostNetwork: true });
    assert.deepEqual(
      errors.map(({ reason }) => reason),
      ['FieldValueForbidden'],
    );
  });
});

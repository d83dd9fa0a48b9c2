// The Pod Security Standards.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type Level, podViolations } from '../../../control-plane-lite/admission/pod-security/checks.ts';
import type { PodSpec } from '../../../kube/api/generated/core-v1.ts';

const safe = {
  allowPrivilegeEscalation: false,
  runAsNonRoot: true,
  capabilities: { drop: ['ALL'] },
  seccompProfile: { type: 'RuntimeDefault' },
};
const spec = (more: Partial<PodSpec> = {}, securityContext: object = safe): PodSpec => ({
  containers: [{ name: 'c', image: 'i', securityContext }],
  ...more,
});
const found = (level: Level, given: PodSpec) =>
  podViolations(level, given).map(({ reason, detail }) => `${reason} (${detail})`);

describe('pod security', () => {
  it('asks nothing at the privileged level', () => {
    assert.deepEqual(found('privileged', spec({ hostNetwork: true }, { privileged: true })), []);
  });

  it('passes a plain pod at the baseline, and a hardened one at the restricted level', () => {
    assert.deepEqual(found('baseline', spec({}, {})), []);
    assert.deepEqual(found('restricted', spec()), []);
  });

  it('says everything that a plain pod lacks for the restricted level', () => {
    assert.deepEqual(found('restricted', spec({}, {})), [
      'allowPrivilegeEscalation != false (container "c" must set securityContext.allowPrivilegeEscalation=false)',
      'unrestricted capabilities (container "c" must set securityContext.capabilities.drop=["ALL"])',
      'runAsNonRoot != true (pod or container "c" must set securityContext.runAsNonRoot=true)',
      'seccompProfile (pod or container "c" must set securityContext.seccompProfile.type to "RuntimeDefault" or "Localhost")',
    ]);
  });

  const cases: [string, Level, PodSpec, string][] = [
    [
      'host namespaces',
      'baseline',
      spec({ hostNetwork: true, hostPID: true }),
      'host namespaces (hostNetwork=true, hostPID=true)',
    ],
    [
      'privileged containers',
      'baseline',
      spec({}, { privileged: true }),
      'privileged (container "c" must not set securityContext.privileged=true)',
    ],
    [
      'more capabilities',
      'baseline',
      spec({}, { capabilities: { add: ['NET_ADMIN'] } }),
      'non-default capabilities (container "c" must not include "NET_ADMIN" in securityContext.capabilities.add)',
    ],
    [
      'host paths',
      'baseline',
      spec({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }),
      'hostPath volumes (volume "v")',
    ],
    [
      'host ports',
      'baseline',
      { containers: [{ name: 'c', image: 'i', ports: [{ containerPort: 80, hostPort: 80 }] }] },
      'hostPort (container "c" uses hostPort 80)',
    ],
    [
      'other volume types',
      'restricted',
      spec({ volumes: [{ name: 'v', hostPath: { path: '/' } }] }),
      'restricted volume types (volume "v" uses restricted volume type "hostPath")',
    ],
    [
      'the root user',
      'restricted',
      spec({}, { ...safe, runAsUser: 0 }),
      'runAsUser=0 (container "c" must not set runAsUser=0)',
    ],
  ];
  for (const [name, level, given, wanted] of cases) {
    it(`refuses ${name} at the ${level} level`, () => assert.deepEqual(found(level, given), [wanted]));
  }
});

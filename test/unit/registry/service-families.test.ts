// Families of services: what is filled in and what is refused, on clusters of one and of two families.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ClusterFamilies,
  fillFamilies,
} from '../../../control-plane-lite/registry/allocation/service-families.ts';
import type { Service } from '../../../kube/api/generated/core-v1.ts';

type Spec = NonNullable<Service['spec']>;
const single: ClusterFamilies = ['IPv4'];
const dual: ClusterFamilies = ['IPv4', 'IPv6'];
const dual6: ClusterFamilies = ['IPv6', 'IPv4'];
const some = { selector: { app: 'web' } };
const v4 = '10.96.0.9';
const v6 = 'fd00::9';

describe('families of a new service', () => {
  const filled: [string, ClusterFamilies, Spec, [string, string[]]][] = [
    ['has the first of the cluster', dual, some, ['SingleStack', ['IPv4']]],
    ['has the first of the cluster, IPv6', dual6, some, ['SingleStack', ['IPv6']]],
    ['has what it asks for', dual, { ...some, ipFamilies: ['IPv6'] }, ['SingleStack', ['IPv6']]],
    ['follows its address', dual, { ...some, clusterIP: v6, clusterIPs: [v6] }, ['SingleStack', ['IPv6']]],
    ['prefers both', dual, { ...some, ipFamilyPolicy: 'PreferDualStack' }, ['PreferDualStack', ['IPv4', 'IPv6']]],
    [
      'prefers both where there is one',
      single,
      { ...some, ipFamilyPolicy: 'PreferDualStack' },
      ['PreferDualStack', ['IPv4']],
    ],
    [
      'requires both, in the other order',
      dual,
      { ...some, ipFamilyPolicy: 'RequireDualStack', ipFamilies: ['IPv6'] },
      ['RequireDualStack', ['IPv6', 'IPv4']],
    ],
    [
      'describes both without selector',
      single,
      { clusterIP: 'None', clusterIPs: ['None'] },
      ['RequireDualStack', ['IPv4', 'IPv6']],
    ],
    ['is headless', dual, { ...some, clusterIP: 'None', clusterIPs: ['None'] }, ['SingleStack', ['IPv4']]],
  ];
  for (const [name, cluster, spec, expected] of filled) {
    it(name, () => {
      const copy = structuredClone(spec);
      assert.deepEqual(fillFamilies(copy, undefined, cluster), []);
      assert.deepEqual([copy.ipFamilyPolicy, copy.ipFamilies], expected);
    });
  }

  const refused: [string, ClusterFamilies, Spec, string, RegExp][] = [
    [
      'a family that is not there',
      single,
      { ...some, ipFamilies: ['IPv6'] },
      'spec.ipFamilies[0]',
      /not configured on this cluster/,
    ],
    [
      'two families that are not there',
      single,
      { ...some, ipFamilyPolicy: 'RequireDualStack' },
      'spec.ipFamilyPolicy',
      /not configured for dual-stack/,
    ],
    [
      'an address of no family here',
      single,
      { ...some, clusterIP: v6, clusterIPs: [v6] },
      'spec.clusterIPs[0]',
      /IPv6 is not configured/,
    ],
    [
      'two families for one',
      dual,
      { ...some, ipFamilies: ['IPv4', 'IPv6'] },
      'spec.ipFamilyPolicy',
      /when multiple IP families are specified/,
    ],
    [
      'two addresses for one family',
      dual,
      { ...some, clusterIP: v4, clusterIPs: [v4, v6] },
      'spec.ipFamilyPolicy',
      /when multiple cluster IPs are specified/,
    ],
  ];
  for (const [name, cluster, spec, field, message] of refused) {
    it(`refuses ${name}`, () => {
      const [error, ...more] = fillFamilies(structuredClone(spec), undefined, cluster);
      assert.equal(error?.field, field);
      assert.match(error?.message ?? '', message);
      assert.deepEqual(more, []);
    });
  }
});

describe('families of a service that changes', () => {
  const one: Spec = { ...some, clusterIP: v4, clusterIPs: [v4], ipFamilies: ['IPv4'], ipFamilyPolicy: 'SingleStack' };
  const both: Spec = {
    ...some,
    clusterIP: v4,
    clusterIPs: [v4, v6],
    ipFamilies: ['IPv4', 'IPv6'],
    ipFamilyPolicy: 'RequireDualStack',
  };
  const change = (before: Spec, after: Partial<Spec>, cluster = dual) => {
    const spec = structuredClone({ ...before, ...after });
    return { spec, errors: fillFamilies(spec, before, cluster) };
  };

  it('gets the second one', () => {
    const { spec, errors } = change(one, { ipFamilyPolicy: 'PreferDualStack' });
    assert.deepEqual([errors, spec.ipFamilies, spec.clusterIPs], [[], ['IPv4', 'IPv6'], [v4]]);
  });

  it('gives up the second one when it says so', () => {
    const { spec, errors } = change(both, { ipFamilyPolicy: 'SingleStack' });
    assert.deepEqual([errors, spec.ipFamilies, spec.clusterIPs], [[], ['IPv4'], [v4]]);
  });

  it('is not to lose the second one in silence', () => {
    const byAddress = change(both, { clusterIPs: [v4] });
    assert.match(byAddress.errors[0]?.message ?? '', /release the secondary cluster IP/);
    const byFamily = change(both, { ipFamilies: ['IPv4'] });
    assert.match(byFamily.errors[0]?.message ?? '', /release the secondary IP family/);
  });

  it('keeps what it has when the cluster has changed and the service has not', () => {
    const preferring: Spec = { ...one, ipFamilyPolicy: 'PreferDualStack' };
    const { spec, errors } = change(preferring, {});
    assert.deepEqual([errors, spec.ipFamilies], [[], ['IPv4']]);
  });

  it('keeps the policy that an update does not mention', () => {
    const { spec, errors } = change(both, { ipFamilyPolicy: undefined });
    assert.deepEqual([errors, spec.ipFamilyPolicy], [[], 'RequireDualStack']);
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  configMapKeyFaults,
  dns1035LabelFaults,
  dns1123LabelFaults,
  dns1123SubdomainFaults,
  envVarNameFaults,
  labelValueFaults,
  portNameFaults,
  qualifiedNameFaults,
  wildcardSubdomainFaults,
} from '#kube/api/names.ts';

const cases: [string, (value: string) => string[], string, boolean][] = [
  ['label', dns1123LabelFaults, 'my-name', true],
  ['label', dns1123LabelFaults, '1a', true],
  ['label', dns1123LabelFaults, 'a'.repeat(64), false],
  ['label', dns1123LabelFaults, '-a', false],
  ['subdomain', dns1123SubdomainFaults, 'a.b-c.d', true],
  ['subdomain', dns1123SubdomainFaults, 'a..b', false],
  ['subdomain', dns1123SubdomainFaults, 'a\nb', false],
  ['DNS-1035 label', dns1035LabelFaults, '1a', false],
  ['wildcard', wildcardSubdomainFaults, '*.a.b', true],
  ['wildcard', wildcardSubdomainFaults, 'a.b', false],
  ['label key', qualifiedNameFaults, 'example.com/My_Name.1', true],
  ['label key', qualifiedNameFaults, '/a', false],
  ['label key', qualifiedNameFaults, 'a/b/c', false],
  ['label value', labelValueFaults, '', true],
  ['label value', labelValueFaults, 'a b', false],
  ['config key', configMapKeyFaults, 'a_B.c', true],
  ['config key', configMapKeyFaults, '..', false],
  ['variable', envVarNameFaults, 'A B', true],
  ['variable', envVarNameFaults, 'A=B', false],
  ['port name', portNameFaults, 'http-1', true],
  ['port name', portNameFaults, '80', false],
];

for (const [what, faultsOf, value, valid] of cases) {
  test(`${JSON.stringify(value.slice(0, 20))} is ${valid ? 'a' : 'no'} valid ${what}`, () => {
    assert.equal(faultsOf(value).length === 0, valid, faultsOf(value).join('; '));
  });
}

test('a label with dots is told so', () => {
  assert.deepEqual(dns1123LabelFaults('a.b'), ['must not contain dots']);
});

test('says what a name must look like, in the words of the API server', () => {
  assert.deepEqual(dns1123SubdomainFaults('Bad_Name'), [
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')",
  ]);
});

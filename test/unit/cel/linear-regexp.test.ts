// Regular expressions in RE2's syntax, in linear time.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { linearRegExp } from '../../../control-plane-lite/cel/linear-regexp.ts';

const matches: [string, string, boolean][] = [
  ['^[a-z]{1,63}$', 'foo', true],
  ['^[a-z]{1,63}$', 'a'.repeat(64), false],
  ['(?i)^foo$', 'FoO', true],
  ['^[^a]$', '😀', true],
  ['^.$', '😀', true],
  ['\\Aab\\z', 'ab', true],
  ['^[[:alpha:]-]+$', 'a-b', true],
  ['^\\pL+$', 'é', true],
  ['^(?P<x>a|b)\\.c$', 'a.c', true],
  ['^\\x41\\Q.*\\E$', 'A.*', true],
  ['^[a-zA-Z0-9]([-a-zA-Z0-9]{0,251}[a-zA-Z0-9])?$', 'abc', true],
  ['^\\S+@\\D+$', 'a@b', true],
  ['(?s)a.b', 'a\nb', true],
  ['a.b', 'a\nb', false],
  ['(?m)^b$', 'a\nb', true],
  ['^\\p{Greek}+$', 'αβγ', true],
  ['^\\p{Lu}\\p{Ll}+$', 'Ångström', true],
  ['(?U)^a+$', 'aaa', true],
];
for (const [pattern, text, wanted] of matches) {
  test(`${pattern} ${wanted ? 'matches' : 'does not match'} ${text.slice(0, 10)}`, () =>
    assert.equal(linearRegExp(pattern).test(text), wanted));
}

for (const pattern of [
  '[',
  '(',
  '(?=a)',
  'a**',
  '(a)\\1',
  '\\',
  '[b-a]',
  'x{2,1}',
  'x{1001}',
  '(?:x{1000}){1000}',
  '*',
]) {
  test(`refuses ${pattern}`, () => assert.throws(() => linearRegExp(pattern), /error parsing regexp/));
}

test('takes linear time where others take exponential time', () => {
  const started = performance.now();
  for (const pattern of ['^(a+)+$', '(x+x+)+y', '(a|a)*b', '^(([a-z])+.)+[A-Z]([a-z])+$']) {
    linearRegExp(pattern).test(`${'a'.repeat(5000)}${'x'.repeat(5000)}!`);
  }
  assert.ok(performance.now() - started < 5000);
});

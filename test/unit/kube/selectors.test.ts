import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fieldsMatch, formatFieldSelector, parseFieldSelector } from '#kube/api/field-selector.ts';
import { formatSelector, labelSelectorMatches, requirementsOf, selectorMatches } from '#kube/api/label-selector.ts';
import { parseLabelSelector } from '#kube/api/parse-label-selector.ts';

const faults: [string, string][] = [
  ['a in', "unable to parse requirement: found '' expected: '('"],
  ['a b', "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"],
  ['a,', "found '', expected: identifier after ','"],
  ['=', "found '=', expected: !, identifier, or 'end of string'"],
  ['!', "unable to parse requirement: found '', expected: identifier"],
  ['a=b c', "found 'c', expected: ',' or 'end of string'"],
  ['a in (b', "unable to parse requirement: found '', expected: ',' or ')'"],
  ['a=(', "unable to parse requirement: found '(', expected: identifier"],
  [
    'a in ()',
    "unable to parse requirement: values: Invalid value: []: for 'in', 'notin' operators, values set can't be empty",
  ],
  [
    'a>x',
    `unable to parse requirement: values[0]: Invalid value: "x": for 'Gt', 'Lt' operators, the value must be an integer`,
  ],
];

for (const [text, message] of faults) {
  test(`explains what is wrong with the label selector "${text}"`, () => {
    assert.throws(() => parseLabelSelector(text), { message });
  });
}

test('names the broken key of a label selector', () => {
  assert.throws(
    () => parseLabelSelector('-a=b'),
    /^SelectorError: unable to parse requirement: <nil>: Invalid value: "-a": name part must consist/,
  );
});

const matches: [string, Record<string, string>, boolean][] = [
  ['', { a: 'b' }, true],
  ['a=b', { a: 'b' }, true],
  ['a==b,c!=d', { a: 'b' }, true],
  ['a!=b', { a: 'b' }, false],
  ['a', { a: '' }, true],
  ['!a', { a: '' }, false],
  ['a in (x, y)', { a: 'y' }, true],
  ['a notin (x,y)', {}, true],
  ['a>5', { a: '10' }, true],
  ['a<5', { a: '10' }, false],
  ['a>5', { a: 'ten' }, false],
  ['in in (in),notin notin (x)', { in: 'in' }, true],
  ['a=', { a: '' }, true],
  ['a in (,x)', { a: '' }, true],
  ['constructor', {}, false],
];

for (const [text, labels, expected] of matches) {
  test(`"${text}" ${expected ? 'selects' : 'does not select'} ${JSON.stringify(labels)}`, () => {
    assert.equal(selectorMatches(parseLabelSelector(text), labels), expected);
  });
}

test('prints a selector as it is queried', () => {
  const requirements = parseLabelSelector('e>1,d,!c,b notin (2,1),a in (x)');
  assert.equal(formatSelector(requirements), 'a=x,b notin (1,2),!c,d,e>1');
});

test('an absent LabelSelector selects nothing, an empty one everything', () => {
  assert.equal(requirementsOf(undefined), undefined);
  assert.equal(labelSelectorMatches(undefined, { a: 'b' }), false);
  assert.equal(labelSelectorMatches({}, { a: 'b' }), true);
});

test('a LabelSelector needs all of its labels and expressions', () => {
  const selector = { matchLabels: { a: 'b' }, matchExpressions: [{ key: 'c', operator: 'In', values: ['d'] }] };
  assert.equal(labelSelectorMatches(selector, { a: 'b', c: 'd' }), true);
  assert.equal(labelSelectorMatches(selector, { a: 'b', c: 'e' }), false);
});

test('field selectors match by equality and inequality', () => {
  const requirements = parseFieldSelector('spec.nodeName=a,status.phase!=Failed');
  const pod: Record<string, string> = { 'spec.nodeName': 'a', 'status.phase': 'Running' };
  assert.equal(
    fieldsMatch(requirements, (field) => pod[field] ?? ''),
    true,
  );
  assert.equal(formatFieldSelector(requirements), 'spec.nodeName=a,status.phase!=Failed');
});

test('field selectors unescape commas and refuse what they cannot read', () => {
  assert.deepEqual(parseFieldSelector('a=x\\,y'), [{ field: 'a', operator: '=', value: 'x,y' }]);
  assert.throws(() => parseFieldSelector('a'), { message: "invalid selector: 'a'; can't understand 'a'" });
});

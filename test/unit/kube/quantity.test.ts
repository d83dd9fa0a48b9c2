import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  addQuantities,
  canonicalQuantity,
  compareQuantities,
  formatQuantity,
  milliValue,
  parseQuantity,
  QuantityError,
  quantityValue,
  subtractQuantities,
} from '#kube/api/quantity.ts';

const canonical: [string, string][] = [
  ['0', '0'],
  ['0Mi', '0'],
  ['0.5', '500m'],
  ['1000m', '1'],
  ['1500m', '1500m'],
  ['1024Mi', '1Gi'],
  ['1500Mi', '1500Mi'],
  ['1.5Gi', '1536Mi'],
  ['0.1Gi', '107374182400m'],
  ['512', '512'],
  ['1025', '1025'],
  ['1000Ki', '1000Ki'],
  ['1e3', '1e3'],
  ['12e6', '12e6'],
  ['1E', '1E'],
  ['1k', '1k'],
  ['1000k', '1M'],
  ['0.1n', '1n'],
  ['-5', '-5'],
  ['+5', '5'],
  ['.5', '500m'],
  ['5.', '5'],
  ['10000000000000000000', '9223372036854775807'],
];

for (const [text, expected] of canonical) {
  test(`writes ${text} as ${expected}`, () => {
    assert.equal(canonicalQuantity(text), expected);
  });
}

for (const text of ['', 'abc', '1.2.3', '1Kb', '1e', '--1', '1 Gi', '.', 'Ki']) {
  test(`refuses ${JSON.stringify(text)}`, () => {
    assert.throws(() => parseQuantity(text), QuantityError);
  });
}

test('a bare number is taken as its text', () => {
  assert.equal(canonicalQuantity(2), '2');
});

test('compares across notations', () => {
  assert.equal(compareQuantities(parseQuantity('1Gi'), parseQuantity('1G')), 1);
  assert.equal(compareQuantities(parseQuantity('1024Mi'), parseQuantity('1Gi')), 0);
  assert.equal(compareQuantities(parseQuantity('1m'), parseQuantity('1')), -1);
});

test('adds exactly and keeps the first notation', () => {
  assert.equal(formatQuantity(addQuantities(parseQuantity('100m'), parseQuantity('0.9'))), '1');
  assert.equal(formatQuantity(addQuantities(parseQuantity('0'), parseQuantity('1Gi'))), '1Gi');
  assert.equal(formatQuantity(subtractQuantities(parseQuantity('1Gi'), parseQuantity('512Mi'))), '512Mi');
});

test('rounds values up, as requests are reserved', () => {
  assert.equal(quantityValue('1500m'), 2);
  assert.equal(quantityValue('1Ki'), 1024);
  assert.equal(milliValue('0.1'), 100);
  assert.equal(milliValue('1u'), 1);
  assert.equal(milliValue(undefined), 0);
});

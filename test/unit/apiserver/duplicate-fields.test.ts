// Fields given twice in a JSON text.
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { locateFields } from '../../../control-plane-lite/apiserver/http/duplicate-fields.ts';

const cases: [string, string, string[]][] = [
  ['finds none in a plain object', '{"a":1,"b":{"a":1}}', []],
  ['finds one at the top', '{"a":1,"a":2}', ['a']],
  ['finds one in a list', '{"spec":{"list":[{"x":1},{"y":[1,2],"y":{}}]}}', ['spec.list[1].y']],
  ['names each once', '{"a":1,"a":2,"a":3}', ['a']],
  ['is not misled by texts', '{"a":"{\\"a\\":1,\\"a\\":2}","b":["a","a"],"c":"\\\\"}', []],
  ['compares names as they are meant', '{"a":1,"\\u0061":2}', ['a']],
];

for (const [name, text, wanted] of cases) {
  it(name, () => assert.deepEqual([...locateFields(text).duplicates.keys()], wanted));
}

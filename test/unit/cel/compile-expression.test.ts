// The language of Kubernetes: what compiles, what it evaluates to, and in which words the rest is refused.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Budget } from '../../../control-plane-lite/cel/budget.ts';
import { type CelSchema, declareTypes } from '../../../control-plane-lite/cel/cel-schema.ts';
import { CelError, compileExpression, declare } from '../../../control-plane-lite/cel/compile-expression.ts';
import { checkingEnvironment } from '../../../control-plane-lite/cel/environment.ts';
import { authorizerValue } from '../../../control-plane-lite/cel/libraries/authorizer.ts';
import { fromCelValue, toCelValue } from '../../../control-plane-lite/cel/values.ts';

const object = {
  metadata: { name: 'a', labels: { app: 'x', 'a.b/c': 'y' } },
  spec: { replicas: 3, ratio: 0.5, list: ['b', 'a'], items: [{ name: 'one', n: 1 }], none: null, memory: '1Gi' },
};
const untyped = declare({ object: 'dyn', oldObject: 'dyn', authorizer: 'dyn' });

function evaluate(source: string, variables: Record<string, unknown> = {}): unknown {
  const compiled = compileExpression(source, untyped);
  if (!compiled.ok) throw new Error(compiled.message);
  const values = { object: toCelValue(object), oldObject: null, ...variables };
  return fromCelValue(compiled.expression.evaluate(values, new Budget()));
}

const values: [string, unknown][] = [
  ['object.spec.replicas > 2 && object.metadata.name == "a"', true],
  ['object.spec.replicas + 1', 4],
  ['object.spec.ratio * 2.0', 1],
  ['oldObject == null', true],
  ['oldObject == null || oldObject.spec.replicas == 3', true],
  ['has(object.spec.other)', false],
  ['has(object.spec.none)', true],
  ['object.?spec.?missing.orValue("none")', 'none'],
  ['object.metadata.labels["a.b/c"]', 'y'],
  ['object.metadata.?labels["nope"].orValue("d")', 'd'],
  ['object.spec.items.all(i, i.name.matches("^[a-z]{1,63}$"))', true],
  ['object.spec.items.map(i, i.n)', [1]],
  ['object.spec.items.exists_one(i, i.n == 1)', true],
  ['object.spec.list.isSorted()', false],
  ['object.spec.list.indexOf("a")', 1],
  ['[3, 1, 2].max() + [3, 1, 2].min() + [1, 2].sum()', 7],
  ['"a-1-b-22".findAll("[0-9]+")', ['1', '22']],
  ['"a-1".find("[0-9]")', '1'],
  ['quantity(object.spec.memory).isGreaterThan(quantity("512Mi"))', true],
  ['isQuantity("1Gi") && !isQuantity("x")', true],
  ['url("https://example.com:80/a?b=c").getHostname()', 'example.com'],
  ['ip("10.0.0.1").family()', 4],
  ['cidr("10.0.0.0/8").containsIP("11.0.0.1")', false],
  ['cidr("2001:db8::1/64").masked() == cidr("2001:db8::/64")', true],
  ['semver("1.2.3-rc.1").isLessThan(semver("1.2.3"))', true],
  ['sets.equivalent([1, 2], [2, 1])', true],
  ['format.dns1123Label().validate("ok").hasValue()', false],
  ['"%s has %d".format(["x", 3])', 'x has 3'],
  ['"hello".charAt(1) + "abc".reverse() + "a,b".split(",").join("-")', 'ecbaa-b'],
  ['{"a": 1}.transformMap(k, v, v + 1)', { a: 2 }],
  ['[1, 2, 3].transformList(i, v, i > 0, v * 2)', [4, 6]],
  ['cel.bind(x, object.spec.replicas, x * x)', 9],
  ['{?"a": optional.none(), "b": 1}', { b: 1 }],
  ['[?optional.of(1), 2].size()', 2],
  ['Object{spec: Object.spec{replicas: object.spec.replicas + 2, ?gone: optional.none()}}', { spec: { replicas: 5 } }],
  [
    '[JSONPatch{op: "add", path: "/metadata/labels/" + jsonpatch.escapeKey("a/b"), value: "c"}]',
    [{ op: 'add', path: '/metadata/labels/a~1b', value: 'c' }],
  ],
  ['type(object.spec.replicas) == int', true],
  ['string(object.spec.replicas) + "x"', '3x'],
  ['timestamp("2026-01-01T00:00:00Z") < timestamp("2026-01-02T00:00:00Z")', true],
  ['duration("1h30m").getMinutes()', 90],
  ['"a" in object.spec.list && !("app" in {"x": 1})', true],
  ['"\\u00e9{" + "}"', 'é{}'],
  ['dyn(1) == 1.0', true],
];

for (const [source, wanted] of values) {
  test(`evaluates ${source}`, () => assert.deepEqual(evaluate(source), wanted));
}

const schema: CelSchema = {
  type: 'object',
  properties: {
    spec: {
      type: 'object',
      properties: {
        replicas: { type: 'integer' },
        'max-size': { type: 'integer' },
        namespace: { type: 'string' },
        when: { type: 'string', format: 'date-time' },
        tags: { type: 'array', items: { type: 'string' } },
        limits: { type: 'object', additional: { type: 'string' } },
      },
    },
  },
};

function typed() {
  const environment = checkingEnvironment.clone();
  return declare({ self: declareTypes(environment, schema, 'SelfOfTest') }, environment);
}

const problems: [string, RegExp][] = [
  [
    'self.spec.nope > 1',
    /^compilation failed: ERROR: <input>:1:11: undefined field 'nope'\n \| self\.spec\.nope > 1\n \| \.{10}\^$/,
  ],
  ['self.spec.replicas == "x"', /found no matching overload for '_==_' applied to '\(int, string\)'/],
  ['other > 1', /undeclared reference to 'other' \(in container ''\)/],
  ['self.spec.replicas >', /Syntax error/],
  ['self.spec.replicas', /^must evaluate to bool$/],
  ['self.spec.tags.nothing()', /found no matching overload for 'nothing'/],
];
for (const [source, wanted] of problems) {
  test(`refuses ${source}`, () => {
    const compiled = compileExpression(source, typed(), ['bool']);
    assert.equal(compiled.ok, false);
    if (!compiled.ok) assert.match(compiled.message, wanted);
  });
}

test('gives declared properties their types and escaped names', () => {
  const sources = [
    'self.spec.max__dash__size == 5 && self.spec.__namespace__ == "n"',
    'self.spec.`max-size` == 5',
    'self.spec.when > timestamp("2020-01-01T00:00:00Z")',
    'self.spec.limits["cpu"] == "1" && self.spec.tags.all(t, t.startsWith("a"))',
  ];
  const self = {
    spec: { 'max-size': 5, namespace: 'n', when: '2026-01-01T00:00:00Z', limits: { cpu: '1' }, tags: ['a'] },
  };
  for (const source of sources) {
    const compiled = compileExpression(source, typed(), ['bool']);
    assert.ok(compiled.ok, compiled.ok ? '' : compiled.message);
    assert.equal(compiled.expression.evaluate({ self: toCelValue(self, schema) }, new Budget()), true, source);
  }
});

test("says in the reference's words why an evaluation failed", () => {
  assert.throws(() => evaluate('object.spec.nope == 1'), { message: 'no such key: nope' });
  assert.throws(() => evaluate('1 / (object.spec.replicas - 3) == 1'), { message: 'division by zero' });
  assert.throws(() => evaluate('object.spec.list[5] == "x"'), { message: 'index out of bounds: 5' });
});

test('asks the authorizer', () => {
  const asked: unknown[] = [];
  const authorizer = authorizerValue(
    (question) => {
      asked.push(question);
      return { allowed: question.verb === 'create', reason: 'said so' };
    },
    { resource: 'pods', namespace: 'n' },
  );
  const sources: [string, boolean][] = [
    ['authorizer.group("apps").resource("deployments").namespace("n").check("create").allowed()', true],
    ['authorizer.requestResource.check("update").allowed()', false],
    ['authorizer.serviceAccount("a", "b").path("/healthz").check("get").allowed()', false],
  ];
  for (const [source, wanted] of sources) assert.equal(evaluate(source, { authorizer }), wanted, source);
  assert.deepEqual(asked.at(-1), {
    group: '',
    resource: '',
    subresource: '',
    namespace: '',
    name: '',
    verb: 'get',
    path: '/healthz',
    serviceAccount: { namespace: 'a', name: 'b' },
  });
});

test('stops what costs too much, quickly, whatever it does', () => {
  const text = 'x'.repeat(5000);
  const list = Array.from({ length: 1000 }, (_, index) => `${text}${index}`);
  const hostile = [
    'object.all(a, object.all(b, object.all(c, a != b + c)))',
    'object.all(a, object.all(b, a.contains(b) || object.exists(c, c == a + b)))',
    'object.map(a, object.map(b, object.map(c, [a, b, c]))).size() > 0',
    'object.all(a, object.all(b, a.matches("(x+x+)+y") || b.matches("(x*)*y")))',
    'lists.range(100000).all(a, lists.range(100000).all(b, a + b >= 0))',
    'cel.bind(a, "xxxxxxxxxxxxxxxx", cel.bind(b, a.replace("x", a).replace("x", a).replace("x", a).replace("x", a), b.replace("x", b) != ""))',
    'object.all(a, object == object.map(b, b + ""))',
    'object.exists(a, object.exists(b, object.exists(c, 1 / 0 == 1)))',
  ];
  for (const source of hostile) {
    const compiled = compileExpression(source, untyped);
    assert.ok(compiled.ok, compiled.ok ? '' : compiled.message);
    const started = performance.now();
    try {
      compiled.expression.evaluate({ object: toCelValue(list) }, new Budget());
    } catch (error) {
      assert.ok(error instanceof CelError, String(error));
    }
    assert.ok(performance.now() - started < 10_000, `${source} took ${performance.now() - started} ms`);
  }
});

test('takes the cost of each evaluation off the budget of the request', () => {
  const compiled = compileExpression('object.all(a, object.all(b, a + b > 0))', untyped);
  assert.ok(compiled.ok);
  const budget = new Budget();
  const before = budget.remaining;
  compiled.expression.evaluate({ object: toCelValue([1, 2, 3]) }, budget);
  assert.ok(budget.remaining < before && budget.remaining > before - 200);
  const poor = new Budget(10);
  assert.throws(
    () => compiled.expression.evaluate({ object: toCelValue([1, 2, 3]) }, poor),
    (error) => error instanceof CelError && error.isCost,
  );
});

test('never crashes on random expressions', () => {
  const parts = [
    'object',
    '.spec',
    '.all(',
    'x',
    ', ',
    ')',
    '(',
    '[',
    ']',
    '{',
    '}',
    '?',
    ':',
    '"a"',
    '1',
    '1.5',
    ' + ',
    ' == ',
    ' in ',
    '.map(',
    'has(',
    '.?',
    '[?',
    '!',
    '-',
    '`',
    "'",
    '"',
    '.matches("(a+)+")',
    'Object{',
    'JSONPatch{',
    '// c',
    '\\',
    'é',
    '.size()',
    ' && ',
    'null',
    'b"x"',
    'r"\\d"',
    '__proto__',
    '.constructor',
  ];
  let seed = 12345;
  const random = (below: number) => {
    seed = (seed * 1103515245 + 12345) % 2147483648;
    return seed % below;
  };
  for (let round = 0; round < 4000; round += 1) {
    const source = Array.from({ length: 1 + random(14) }, () => parts[random(parts.length)]).join('');
    const compiled = compileExpression(source, untyped);
    if (!compiled.ok) {
      assert.match(compiled.message, /^(compilation failed: ERROR: <input>:\d+:\d+: |must evaluate)/, source);
      continue;
    }
    try {
      compiled.expression.evaluate({ object: toCelValue(object) }, new Budget());
    } catch (error) {
      assert.ok(error instanceof CelError, source);
    }
  }
});

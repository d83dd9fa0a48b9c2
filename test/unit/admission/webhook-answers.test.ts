// What webhooks are asked and answer, how refusals are told, and who is asked once more.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { noteRun, type Reinvocation, runsOf } from '../../../control-plane-lite/admission/reinvocation.ts';
import { readAnswer } from '../../../control-plane-lite/admission/webhook/admission-review.ts';
import { callFailure, deniedByWebhook } from '../../../control-plane-lite/admission/webhook/webhook-failures.ts';

const review = (response: object, apiVersion = 'admission.k8s.io/v1') => ({
  kind: 'AdmissionReview',
  apiVersion,
  response,
});
const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64');

describe('answers of webhooks', () => {
  it('are read with patch, warnings and annotations', () => {
    const patch = [{ op: 'add', path: '/a', value: 1 }];
    const response = {
      uid: 'u',
      allowed: true,
      patchType: 'JSONPatch',
      patch: encoded(patch),
      warnings: ['w', 5],
      auditAnnotations: { k: 'v' },
    };
    assert.deepEqual(readAnswer(review(response), 'v1', 'u', true), {
      allowed: true,
      status: undefined,
      patch,
      warnings: ['w'],
      auditAnnotations: { k: 'v' },
    });
  });

  const wrong: [string, unknown, boolean, RegExp][] = [
    ['nothing', null, false, /expected webhook response of admission\.k8s\.io\/v1, Kind=AdmissionReview, got , Kind=/],
    [
      'another version',
      review({ uid: 'u' }, 'admission.k8s.io/v2'),
      false,
      /got admission\.k8s\.io\/v2, Kind=AdmissionReview/,
    ],
    [
      'no response',
      { kind: 'AdmissionReview', apiVersion: 'admission.k8s.io/v1' },
      false,
      /webhook response was absent/,
    ],
    ['another question’s answer', review({ uid: 'x', allowed: true }), false, /expected response\.uid="u", got "x"/],
    [
      'a patch of no type',
      review({ uid: 'u', allowed: true, patch: encoded([]) }),
      true,
      /returned response\.patch but not response\.patchType/,
    ],
    [
      'a type without patch',
      review({ uid: 'u', allowed: true, patchType: 'JSONPatch' }),
      true,
      /returned response\.patchType but not response\.patch/,
    ],
    [
      'a patch that is none',
      review({ uid: 'u', allowed: true, patchType: 'JSONPatch', patch: encoded({}) }),
      true,
      /no JSON patch/,
    ],
    [
      'a patch where none may be',
      review({ uid: 'u', allowed: true, patchType: 'JSONPatch', patch: encoded([]) }),
      false,
      /may not return response\.patch/,
    ],
  ];
  for (const [what, answer, mutates, wanted] of wrong) {
    it(`are refused: ${what}`, () => assert.throws(() => readAnswer(answer, 'v1', 'u', mutates), wanted));
  }

  it('of the older version need no uid', () => {
    assert.equal(
      readAnswer(review({ allowed: true }, 'admission.k8s.io/v1beta1'), 'v1beta1', 'u', false).allowed,
      true,
    );
  });

  it('refuse with their own code and message, and never with a success', () => {
    const cases: [object | undefined, number, string][] = [
      [{ code: 403, message: 'no' }, 403, 'admission webhook "w" denied the request: no'],
      [{ code: 200, reason: 'Because' }, 400, 'admission webhook "w" denied the request: Because'],
      [undefined, 400, 'admission webhook "w" denied the request without explanation'],
    ];
    for (const [status, code, message] of cases) {
      const denied = deniedByWebhook('w', status).status;
      assert.deepEqual([denied.code, denied.message, denied.status], [code, message, 'Failure']);
    }
    assert.equal(callFailure('w', new Error('x'), false), 'failed calling webhook "w": failed to call webhook: x');
    assert.equal(callFailure('w', new Error('x'), true), 'failed calling webhook "w": x');
  });
});

describe('who runs once more', () => {
  it('is whoever ran before a change and wants to', () => {
    const reinvocation: Reinvocation = { isSecondRun: false, isWanted: false, plugins: new Map() };
    const runs = runsOf(reinvocation, 'p', {});
    noteRun(reinvocation, runs, 'first', { isChanged: false, runsAgain: true });
    noteRun(reinvocation, runs, 'never', { isChanged: false, runsAgain: false });
    assert.equal(reinvocation.isWanted, false);
    noteRun(reinvocation, runs, 'last', { isChanged: true, runsAgain: true });
    assert.equal(reinvocation.isWanted, true);
    assert.deepEqual([...runs.again], ['first']);
  });

  it('is also the last one, when others changed the object since', () => {
    const reinvocation: Reinvocation = { isSecondRun: false, isWanted: true, plugins: new Map() };
    const runs = runsOf(reinvocation, 'p', { a: 1 });
    noteRun(reinvocation, runs, 'only', { isChanged: true, runsAgain: true });
    runs.lastOutput = JSON.stringify({ a: 1 });
    reinvocation.isSecondRun = true;
    assert.deepEqual([...runsOf(reinvocation, 'p', { a: 1 }).again], []);
    assert.deepEqual([...runsOf(reinvocation, 'p', { a: 2 }).again], ['only']);
  });
});

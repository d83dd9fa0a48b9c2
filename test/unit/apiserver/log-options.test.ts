import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { validateLogOptions } from '../../../control-plane-lite/apiserver/proxy/validate-log-options.ts';

describe('the options of a log', () => {
  const check = (query: string) => () => validateLogOptions('web', new URLSearchParams(query));

  for (const query of ['', 'tailLines=0&limitBytes=1&sinceSeconds=1', 'stream=Stdout', 'stream=All&tailLines=3']) {
    it(`may be "${query}"`, () => assert.doesNotThrow(check(query)));
  }

  const wrong: [query: string, message: string][] = [
    ['tailLines=-1', 'tailLines: Invalid value: -1: must be greater than or equal to 0'],
    ['limitBytes=0', 'limitBytes: Invalid value: 0: must be greater than 0'],
    ['sinceSeconds=0', 'sinceSeconds: Invalid value: 0: must be greater than 0'],
    ['stream=Both', 'stream: Unsupported value: "Both": supported values: "All", "Stdout", "Stderr"'],
    [
      'sinceSeconds=1&sinceTime=2026-01-01T00:00:00Z',
      ': Forbidden: at most one of `sinceTime` or `sinceSeconds` may be specified',
    ],
    ['stream=Stderr&tailLines=1', ': Forbidden: `tailLines` and specific `stream` are mutually exclusive for now'],
  ];
  for (const [query, message] of wrong) {
    it(`may not be "${query}"`, () => {
      assert.throws(check(query), { message: `PodLogOptions "web" is invalid: ${message}` });
    });
  }
});

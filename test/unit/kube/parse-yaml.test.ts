// YAML as Kubernetes reads it.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseYaml } from '../../../kube/process/parse-yaml.ts';

describe('parseYaml', () => {
  it('reads file modes as octal, and words of version 1.1 as booleans', () => {
    assert.deepEqual(parseYaml('mode: 0644\nrun: yes\nstop: off\nquoted: "no"'), {
      mode: 0o644,
      run: true,
      stop: false,
      quoted: 'no',
    });
  });

  it('leaves times, dates and ports as text', () => {
    const text = 'time: 12:30\ndate: 2026-01-01\nstamp: 2026-01-01T00:00:00Z\nports: "80:81"';
    assert.deepEqual(parseYaml(text), {
      time: '12:30',
      date: '2026-01-01',
      stamp: '2026-01-01T00:00:00Z',
      ports: '80:81',
    });
  });

  it('says in one line what is wrong, and shows no text', () => {
    const message = /^[^\n]*line 2[^\n]*$/;
    assert.throws(
      () => parseYaml('password: "hidden\n'),
      (error: Error) => {
        assert.match(error.message, message);
        assert.doesNotMatch(error.message, /hidden/);
        return true;
      },
    );
  });

  it('minds a key given twice only where asked for', () => {
    assert.throws(() => parseYaml('a: 1\na: 2'), { message: 'Map keys must be unique at line 2, column 1' });
    assert.deepEqual(parseYaml('a: 1\na: 2', { uniqueKeys: false }), { a: 2 });
  });
});

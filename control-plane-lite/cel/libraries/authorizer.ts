// `authorizer.group('apps').resource('deployments').check('create').allowed()`: questions to the server's authorizer.
import type { Environment } from '@marcbachmann/cel-js';
import { addFunctions } from '../function-table.ts';

/** What is asked; the answer is the server's. */
export interface AccessQuestion {
  /** Set for paths that are no resources. */
  path?: string;
  group: string;
  resource: string;
  subresource: string;
  namespace: string;
  name: string;
  verb: string;
  fieldSelector?: string;
  labelSelector?: string;
  /** Another user than the one of the request. */
  serviceAccount?: { namespace: string; name: string };
}

export interface AccessAnswer {
  allowed: boolean;
  reason: string;
}

export type AskAccess = (question: AccessQuestion) => AccessAnswer;

const nothing: AccessQuestion = { group: '', resource: '', subresource: '', namespace: '', name: '', verb: '' };

/** A question that is still being put together. */
class Check {
  readonly #ask: AskAccess;
  readonly #question: AccessQuestion;

  constructor(ask: AskAccess, question: AccessQuestion) {
    this.#ask = ask;
    this.#question = question;
  }

  with(part: Partial<AccessQuestion>): [AskAccess, AccessQuestion] {
    return [this.#ask, { ...this.#question, ...part }];
  }

  answer(verb: string): Decision {
    return new Decision(this.#ask({ ...this.#question, verb }));
  }
}

export class AuthorizerValue extends Check {
  readonly #own: Check | undefined;

  constructor(ask: AskAccess, question: AccessQuestion = nothing, own?: Check) {
    super(ask, question);
    this.#own = own;
  }

  /** The resource of the request itself. */
  get requestResource(): Check | undefined {
    return this.#own;
  }
}
class PathCheck extends Check {}
class GroupCheck extends Check {}
export class ResourceCheck extends Check {}

class Decision {
  readonly #answer: AccessAnswer;

  constructor(answer: AccessAnswer) {
    this.#answer = answer;
  }

  allowed(): boolean {
    return this.#answer.allowed;
  }

  reason(): string {
    return this.#answer.reason;
  }
}

/** The value of the variable `authorizer` for one request. */
export function authorizerValue(ask: AskAccess, own: Partial<AccessQuestion>): AuthorizerValue {
  return new AuthorizerValue(ask, nothing, new ResourceCheck(ask, { ...nothing, ...own }));
}

export function addAuthorizer(environment: Environment): void {
  const types = {
    'kubernetes.authorization.Authorizer': AuthorizerValue,
    'kubernetes.authorization.PathCheck': PathCheck,
    'kubernetes.authorization.GroupCheck': GroupCheck,
    'kubernetes.authorization.ResourceCheck': ResourceCheck,
    'kubernetes.authorization.Decision': Decision,
  };
  for (const [name, ctor] of Object.entries(types)) environment.registerType(name, ctor as new () => unknown);
  const a = 'kubernetes.authorization';
  const resource = (part: (value: string) => Partial<AccessQuestion>) => (check: Check, value: string) =>
    new ResourceCheck(...check.with(part(value)));
  addFunctions(environment, {
    [`${a}.Authorizer.path(string): ${a}.PathCheck`]: (check: Check, path: string) =>
      new PathCheck(...check.with({ path })),
    [`${a}.Authorizer.group(string): ${a}.GroupCheck`]: (check: Check, group: string) =>
      new GroupCheck(...check.with({ group })),
    [`${a}.Authorizer.serviceAccount(string, string): ${a}.Authorizer`]: (
      check: Check,
      namespace: string,
      name: string,
    ) => new AuthorizerValue(...check.with({ serviceAccount: { namespace, name } })),
    [`${a}.GroupCheck.resource(string): ${a}.ResourceCheck`]: resource((value) => ({ resource: value })),
    [`${a}.ResourceCheck.subresource(string): ${a}.ResourceCheck`]: resource((subresource) => ({ subresource })),
    [`${a}.ResourceCheck.namespace(string): ${a}.ResourceCheck`]: resource((namespace) => ({ namespace })),
    [`${a}.ResourceCheck.name(string): ${a}.ResourceCheck`]: resource((name) => ({ name })),
    [`${a}.ResourceCheck.fieldSelector(string): ${a}.ResourceCheck`]: resource((fieldSelector) => ({ fieldSelector })),
    [`${a}.ResourceCheck.labelSelector(string): ${a}.ResourceCheck`]: resource((labelSelector) => ({ labelSelector })),
    [`${a}.PathCheck.check(string): ${a}.Decision`]: (check: Check, verb: string) => check.answer(verb),
    [`${a}.ResourceCheck.check(string): ${a}.Decision`]: (check: Check, verb: string) => check.answer(verb),
    [`${a}.Decision.allowed(): bool`]: (decision: Decision) => decision.allowed(),
    [`${a}.Decision.reason(): string`]: (decision: Decision) => decision.reason(),
    [`${a}.Decision.errored(): bool`]: () => false,
    [`${a}.Decision.error(): string`]: () => '',
  });
}

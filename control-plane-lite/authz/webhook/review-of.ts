// The SubjectAccessReview that asks about a request, and what its answer says.
import type { LabelRequirement } from '#kube/api/label-selector.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import type { AccessSelectors } from '../access-selectors.ts';
import type { AccessAttributes, Decision } from '../authorizer.ts';

export type ReviewVersion = 'v1' | 'v1beta1';

const group = 'authorization.k8s.io';

const withoutEmpty = (fields: Readonly<Record<string, string>>): object =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== ''));

function attributesOf(access: AccessAttributes): object {
  if (!access.isResource) return { nonResourceAttributes: withoutEmpty({ path: access.path, verb: access.verb }) };
  const { namespace, verb, group: of, version, resource, subresource, name } = access;
  return {
    resourceAttributes: {
      ...withoutEmpty({ namespace, verb, group: of, version, resource, subresource, name }),
      ...selectorsOf(access),
    },
  };
}

function selectorsOf({ fieldSelector = [], labelSelector = [] }: AccessSelectors): object {
  const fields = fieldSelector.map(({ field, operator, value }) => ({
    key: field,
    operator: operator === '=' ? 'In' : 'NotIn',
    values: [value],
  }));
  // The form of a review has no order between values: such a requirement only narrows, and is left out.
  const labels = labelSelector.filter(({ operator }) => operator !== 'Gt' && operator !== 'Lt');
  return {
    ...(fields.length === 0 ? {} : { fieldSelector: { requirements: fields } }),
    ...(labels.length === 0 ? {} : { labelSelector: { requirements: labels.map(labelRequirementOf) } }),
  };
}

const labelRequirementOf = ({ key, operator, values }: LabelRequirement): object => ({
  key,
  operator,
  ...(values.length === 0 ? {} : { values }),
});

/** The question. Equal questions are equal as JSON. */
export function reviewOf(version: ReviewVersion, user: UserInfo, access: AccessAttributes): object {
  const { username, uid = '', groups, extra } = user;
  return {
    kind: 'SubjectAccessReview',
    apiVersion: `${group}/${version}`,
    metadata: { creationTimestamp: null },
    spec: {
      ...attributesOf(access),
      ...(username === '' ? {} : { user: username }),
      ...(groups.length === 0 ? {} : { [version === 'v1' ? 'groups' : 'group']: groups }),
      ...(extra === undefined || Object.keys(extra).length === 0 ? {} : { extra }),
      ...(uid === '' ? {} : { uid }),
    },
    status: { allowed: false },
  };
}

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** What an answer decides. Throws for one that is none. */
export function decisionOf(answer: unknown): Decision {
  const status = isFields(answer) ? answer['status'] : undefined;
  if (!isFields(status) || typeof status['allowed'] !== 'boolean') {
    throw new Error('the webhook answered with no SubjectAccessReview that has a status');
  }
  const { allowed, denied = false, reason = '', evaluationError = '' } = status;
  if (allowed && denied === true) throw new Error('the webhook both allowed and denied the request');
  const why = [reason, evaluationError].map(String).find((text) => text !== '') ?? '';
  if (allowed) return { verdict: 'allow', reason: why };
  return { verdict: denied === true ? 'deny' : 'noOpinion', reason: why };
}

// SubjectAccessReview and its kin: what the authorizers say, asked over the API.
import type {
  NonResourceAttributes,
  ResourceAttributes,
  SubjectAccessReviewSpec,
} from '#kube/api/generated/authorization-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { type FieldError, invalidField, invalidObject, requiredField } from '#kube/errors/field-error.ts';
import { selectorFaults, selectorsOfReview } from '../../authz/access-selectors.ts';
import type { AccessAttributes } from '../../authz/authorizer.ts';
import type { UserInfo } from '../../registry/request-context.ts';
import { badRequest } from '../../registry/status-errors.ts';
import type { ApiContext, ResourceHandler } from '../api-context.ts';
import { readPosted } from '../handlers/read-posted.ts';
import { sendObject } from '../http/exchange.ts';

type Asked = {
  resourceAttributes?: ResourceAttributes | undefined;
  nonResourceAttributes?: NonResourceAttributes | undefined;
};

function accessOf({ resourceAttributes, nonResourceAttributes }: Asked): AccessAttributes {
  if (resourceAttributes !== undefined) {
    const {
      verb = '',
      group = '',
      version = '',
      resource = '',
      subresource = '',
      namespace = '',
      name = '',
    } = resourceAttributes;
    const { selectors } = selectorsOfReview(resourceAttributes);
    return { isResource: true, verb, group, version, resource, subresource, namespace, name, ...selectors };
  }
  return { isResource: false, verb: nonResourceAttributes?.verb ?? '', path: nonResourceAttributes?.path ?? '' };
}

function validate(spec: Partial<SubjectAccessReviewSpec>, hasSubject: boolean): FieldError[] {
  const errors: FieldError[] = [];
  if (spec.resourceAttributes !== undefined && spec.nonResourceAttributes !== undefined) {
    errors.push(
      invalidField(
        'spec.nonResourceAttributes',
        spec.nonResourceAttributes,
        'cannot be specified in combination with resourceAttributes',
      ),
    );
  }
  if (spec.resourceAttributes === undefined && spec.nonResourceAttributes === undefined) {
    errors.push(
      invalidField(
        'spec.resourceAttributes',
        spec.nonResourceAttributes ?? null,
        'exactly one of nonResourceAttributes or resourceAttributes must be specified',
      ),
    );
  }
  if (hasSubject && (spec.user ?? '') === '' && (spec.groups ?? []).length === 0) {
    errors.push(requiredField('spec.user', 'at least one of user or group must be specified'));
  }
  return [...errors, ...selectorFaults(spec.resourceAttributes)];
}

async function answer(api: ApiContext, user: UserInfo, asked: Asked): Promise<object> {
  const { verdict, reason } = await api.authorizer.decide(user, accessOf(asked));
  const { evaluationError } = selectorsOfReview(asked.resourceAttributes ?? {});
  return {
    allowed: verdict === 'allow',
    ...(verdict === 'deny' ? { denied: true } : {}),
    ...(reason === '' ? {} : { reason }),
    ...(evaluationError === '' ? {} : { evaluationError }),
  };
}

function subjectOf(spec: Partial<SubjectAccessReviewSpec>): UserInfo {
  const { user = '', groups = [], uid, extra } = spec;
  return {
    username: user,
    groups,
    ...(uid === undefined ? {} : { uid }),
    ...(extra === undefined ? {} : { extra }),
  };
}

function reviewHandler(kind: string, hasSubject: boolean, isLocal: boolean): ResourceHandler {
  return async (api, exchange) => {
    const group = 'authorization.k8s.io';
    const review = (await readPosted(api, exchange, { group, version: 'v1', kind })) as KubeObject & {
      spec: Partial<SubjectAccessReviewSpec>;
    };
    const { spec } = review;
    const errors = validate(spec, hasSubject);
    if (errors.length > 0) throw invalidObject(kind, group, '', errors);
    const { namespace } = exchange.info;
    if (isLocal && (spec.resourceAttributes?.namespace ?? '') !== namespace) {
      throw badRequest(`spec.resourceAttributes.namespace must match namespace: ${namespace}`);
    }
    const status = await answer(api, hasSubject ? subjectOf(spec) : exchange.user, spec);
    sendObject(exchange, 201, { ...review, status });
  };
}

export const accessReviewHandlers = {
  'authorization.k8s.io/subjectaccessreviews': reviewHandler('SubjectAccessReview', true, false),
  'authorization.k8s.io/localsubjectaccessreviews': reviewHandler('LocalSubjectAccessReview', true, true),
  'authorization.k8s.io/selfsubjectaccessreviews': reviewHandler('SelfSubjectAccessReview', false, false),
} as const;

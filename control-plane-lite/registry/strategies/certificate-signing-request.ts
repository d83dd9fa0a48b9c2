// Certificate signing requests: they say who asked, and only approvers touch their verdict.
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import {
  type FieldError,
  forbiddenField,
  invalidField,
  invalidObject,
  unsupportedField,
} from '#kube/errors/field-error.ts';
import { timestamp } from '../object-meta.ts';
import type { Strategy } from '../strategy.ts';

type RequestObject = KubeObject & CertificateSigningRequest;
type Condition = NonNullable<NonNullable<CertificateSigningRequest['status']>['conditions']>[number];

const isVerdict = ({ type }: Pick<Condition, 'type'>): boolean => type === 'Approved' || type === 'Denied';

/** Approval sets conditions of any type but never takes a failure back; the status sets all but the verdict. */
function conditionsFor(request: RequestObject, previous: RequestObject, subresource: string): Condition[] {
  const given = request.status?.conditions ?? [];
  if (subresource === 'approval') {
    const failures = (previous.status?.conditions ?? []).filter(({ type }) => type === 'Failed');
    return [...failures, ...given.filter(({ type }) => failures.length === 0 || type !== 'Failed')];
  }
  const verdict = (previous.status?.conditions ?? []).filter(isVerdict);
  return [...verdict, ...given.filter((condition) => !isVerdict(condition))];
}

/** A verdict is final: it stays, and there is one. */
function verdictFaults(request: RequestObject, previous: RequestObject): FieldError[] {
  const now = request.status?.conditions ?? [];
  const before = previous.status?.conditions ?? [];
  const has = (conditions: readonly Condition[], wanted: string) => conditions.some(({ type }) => type === wanted);
  const removed = ['Approved', 'Denied'].filter((type) => has(before, type) && !has(now, type));
  const field = 'status.conditions';
  return [
    ...removed.map((type) =>
      forbiddenField(field, `updates may not remove a condition of type ${JSON.stringify(type)}`),
    ),
    ...now.flatMap(({ type, status }, index) => {
      const isBoth = isVerdict({ type }) && has(now.slice(0, index), type === 'Approved' ? 'Denied' : 'Approved');
      return [
        ...(isVerdict({ type }) && status !== 'True'
          ? [unsupportedField(`${field}[${index}].status`, status, ['True'])]
          : []),
        ...(isBoth
          ? [invalidField(`${field}[${index}].type`, type, 'Approved and Denied conditions are mutually exclusive')]
          : []),
      ];
    }),
  ];
}

export const certificateSigningRequestStrategy: Strategy<RequestObject> = {
  prepareCreate: (request, { user }) => {
    request.spec.username = user.username;
    if (user.uid !== undefined) request.spec.uid = user.uid;
    else delete request.spec.uid;
    request.spec.groups = [...user.groups];
    delete request.spec.extra;
    if (user.extra !== undefined) {
      request.spec.extra = Object.fromEntries(Object.entries(user.extra).map(([key, values]) => [key, [...values]]));
    }
    request.status = {};
  },
  prepareUpdate: (request, previous, { nowMs }, subresource) => {
    request.spec = structuredClone(previous.spec);
    if (subresource === '') return;
    const faults = subresource === 'approval' ? verdictFaults(request, previous) : [];
    if (faults.length > 0) {
      throw invalidObject('CertificateSigningRequest', 'certificates.k8s.io', previous.metadata.name, faults);
    }
    const conditions = conditionsFor(request, previous, subresource).map((condition) => ({
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? timestamp(nowMs),
      lastTransitionTime: condition.lastTransitionTime ?? timestamp(nowMs),
    }));
    const { conditions: _, ...rest } = (subresource === 'approval' ? previous.status : request.status) ?? {};
    request.status = { ...rest, ...(conditions.length > 0 ? { conditions } : {}) };
  },
};

// Certificate signing requests: they say who asked, and only approvers touch their verdict.
import type { CertificateSigningRequest } from '#kube/api/generated/certificates-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { timestamp } from '../object-meta.ts';
import type { Strategy } from '../strategy.ts';

type RequestObject = KubeObject & CertificateSigningRequest;
type Condition = NonNullable<NonNullable<CertificateSigningRequest['status']>['conditions']>[number];

const isVerdict = ({ type }: Condition): boolean => type === 'Approved' || type === 'Denied';

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
    const conditions = conditionsFor(request, previous, subresource).map((condition) => ({
      ...condition,
      lastUpdateTime: condition.lastUpdateTime ?? timestamp(nowMs),
      lastTransitionTime: condition.lastTransitionTime ?? timestamp(nowMs),
    }));
    const { conditions: _, ...rest } = (subresource === 'approval' ? previous.status : request.status) ?? {};
    request.status = { ...rest, ...(conditions.length > 0 ? { conditions } : {}) };
  },
};

// Whether an aggregated API can be used: its service, its endpoints, and an answer from it. The facts are judged here;
// asking is left to the caller. Source of the rules: the reference's kube-aggregator/pkg/controllers/status.
import { endpointslices, services } from '#kube/api/generated/resources.ts';
import type { ObjectReader } from '../../registry/object-reader.ts';
import type { RemoteApi } from './remote-api.ts';

export interface Availability {
  status: 'True' | 'False';
  reason: string;
  message: string;
}

const no = (reason: string, message: string): Availability => ({ status: 'False', reason, message });

export const passed: Availability = { status: 'True', reason: 'Passed', message: 'all checks passed' };

/** What is wrong with the service of an API; undefined when the API can be asked. */
export function computeServiceFault({ service }: RemoteApi, objects: ObjectReader): Availability | undefined {
  const { namespace, name, port } = service;
  const found = objects.get(services, namespace, name);
  if (found === undefined)
    return no('ServiceNotFound', `service/${name} in ${JSON.stringify(namespace)} is not present`);
  if (found.spec?.type === 'ExternalName') return undefined;
  const wanted = (found.spec?.ports ?? []).find((each) => each.port === port);
  if (wanted === undefined) {
    return no('ServicePortError', `service/${name} in ${JSON.stringify(namespace)} is not listening on port ${port}`);
  }
  const slices = objects
    .list(endpointslices, namespace)
    .filter(({ metadata }) => metadata.labels?.['kubernetes.io/service-name'] === name);
  const where = `service/${name} in ${JSON.stringify(namespace)}`;
  if (slices.length === 0) return no('EndpointsNotFound', `cannot find endpointslices for ${where}`);
  const portName = wanted.name ?? '';
  const isReady = slices.some(
    ({ ports, endpoints }) =>
      (ports ?? []).some((each) => (each.name ?? '') === portName) &&
      (endpoints ?? []).some(({ conditions }) => conditions?.ready !== false),
  );
  return isReady
    ? undefined
    : no(
        'MissingEndpoints',
        `endpointslices for ${where} have no addresses with port name ${JSON.stringify(portName)}`,
      );
}

/** The verdict on an answer, or on there being none. */
export function judgeAnswer(url: URL, answer: { code: number } | Error): Availability {
  const failed = 'FailedDiscoveryCheck';
  if (answer instanceof Error)
    return no(
      failed,
      `failing or missing response from ${url.href}: Get ${JSON.stringify(url.href)}: ${answer.message}`,
    );
  if (answer.code >= 200 && answer.code < 300) return passed;
  return no(failed, `failing or missing response from ${url.href}: bad status from ${url.href}: ${answer.code}`);
}

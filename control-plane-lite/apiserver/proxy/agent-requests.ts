// What the API's streaming subresources of pods are called on an agent. Pure.
import type { Pod } from '#kube/api/generated/core-v1.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import { badRequest } from '../../registry/status-errors.ts';
import { validateLogOptions } from './validate-log-options.ts';

type PodObject = KubeObject & Pod;

const streams: readonly (readonly [string, string])[] = [
  ['stdin', 'input'],
  ['stdout', 'output'],
  ['stderr', 'error'],
  ['tty', 'tty'],
];

const isTrue = (value: string | null): boolean => value === 'true' || value === '1';

function containerNames(pod: PodObject): string[] {
  const { containers = [], initContainers = [], ephemeralContainers = [] } = pod.spec ?? {};
  return [...containers, ...initContainers, ...ephemeralContainers].map(({ name }) => name);
}

/** The container that a request is about. Throws StatusError 400 when it names none and there are several. */
export function containerOf(pod: PodObject, query: URLSearchParams): string {
  const wanted = query.get('container') ?? '';
  const { name } = pod.metadata;
  if (wanted !== '') {
    if (containerNames(pod).includes(wanted)) return wanted;
    throw badRequest(`container ${wanted} is not valid for pod ${name}`);
  }
  const { containers = [], initContainers = [] } = pod.spec ?? {};
  const [only] = containers;
  if (only !== undefined && containers.length === 1) return only.name;
  const choices = `choose one of: [${containers.map((each) => each.name).join(' ')}]`;
  const inits =
    initContainers.length === 0
      ? ''
      : ` or one of the init containers: [${initContainers.map((each) => each.name).join(' ')}]`;
  throw badRequest(`a container name must be specified for pod ${name}, ${choices}${inits}`);
}

/** Path and query of exec, attach or portForward on the agent. Throws StatusError 400. */
export function agentStreamPath(
  kind: 'exec' | 'attach' | 'portForward',
  pod: PodObject,
  query: URLSearchParams,
): string {
  const { namespace = '', name } = pod.metadata;
  const wanted = new URLSearchParams();
  const base = [kind, namespace, name];
  if (kind === 'portForward') {
    for (const port of query.getAll('ports')) wanted.append('port', port);
  } else {
    base.push(containerOf(pod, query));
    for (const [from, to] of streams) if (isTrue(query.get(from))) wanted.append(to, '1');
    for (const word of query.getAll('command')) wanted.append('command', word);
  }
  const text = wanted.toString();
  return `/${base.map(encodeURIComponent).join('/')}${text === '' ? '' : `?${text}`}`;
}

const logOptions = [
  'follow',
  'previous',
  'sinceSeconds',
  'sinceTime',
  'timestamps',
  'tailLines',
  'limitBytes',
  'stream',
];

/** Path and query of a container's log on the agent. Throws StatusError 400 or 422. */
export function agentLogPath(pod: PodObject, query: URLSearchParams): string {
  const { namespace = '', name } = pod.metadata;
  validateLogOptions(name, query);
  const wanted = new URLSearchParams();
  for (const option of logOptions) {
    const value = query.get(option);
    if (value !== null && value !== '') wanted.append(option, value);
  }
  const text = wanted.toString();
  const path = ['containerLogs', namespace, name, containerOf(pod, query)].map(encodeURIComponent).join('/');
  return `/${path}${text === '' ? '' : `?${text}`}`;
}

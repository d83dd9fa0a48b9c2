// Mistakes in autoscalers, quotas, limits, ingresses, network policies and families of services, and what is said of them.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { validateCreate, validateUpdate } from '../../../control-plane-lite/registry/validation/validate.ts';
import {
  horizontalpodautoscalers,
  ingressclasses,
  ingresses,
  jobs,
  limitranges,
  networkpolicies,
  poddisruptionbudgets,
  resourcequotas,
  services,
} from '../../../kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '../../../kube/api/resource.ts';

const objectOf = (spec: object, isNamespaced = true) =>
  ({ metadata: { name: 'n', ...(isNamespaced ? { namespace: 'default' } : {}) }, spec }) as unknown as KubeObject;
const said = (errors: ReturnType<typeof validateCreate>) => errors.map(({ field, message }) => `${field}: ${message}`);
const scaleTargetRef = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'd' };
const cpu = (target: object) => ({ type: 'Resource', resource: { name: 'cpu', target } });
const http = (...paths: object[]) => ({ rules: [{ http: { paths } }] });
const toService = (name: string, port: object) => ({ service: { name, port } });

const podDefaults = { dnsPolicy: 'ClusterFirst', terminationGracePeriodSeconds: 30 };
const containerDefaults = {
  ...{ name: 'c', image: 'i', imagePullPolicy: 'Always', terminationMessagePolicy: 'File' },
  terminationMessagePath: '/dev/termination-log',
};

const table: [string, Resource, object, string[]][] = [
  [
    'a target of nothing',
    horizontalpodautoscalers,
    { maxReplicas: 2, scaleTargetRef, metrics: [cpu({ type: 'Utilization', averageUtilization: 0 })] },
    ['spec.metrics[0].resource.target.averageUtilization: Invalid value: 0: must be greater than 0'],
  ],
  [
    'no target, and one of no type',
    horizontalpodautoscalers,
    { maxReplicas: 2, scaleTargetRef, metrics: [cpu({ type: 'Share' })] },
    [
      'spec.metrics[0].resource.target.type: Invalid value: "Share": must be either Utilization, Value, or AverageValue',
      'spec.metrics[0].resource.target.averageUtilization: Required value: must set either a target raw value or a target utilization',
    ],
  ],
  [
    'a metric without its source, and with another one',
    horizontalpodautoscalers,
    {
      maxReplicas: 2,
      scaleTargetRef,
      metrics: [
        { type: 'Pods' },
        {
          ...cpu({ type: 'Utilization', averageUtilization: 50 }),
          pods: { metric: { name: 'a/b' }, target: { type: 'AverageValue', averageValue: '-1' } },
        },
      ],
    },
    [
      'spec.metrics[0].pods: Required value: must populate information for the given metric source',
      'spec.metrics[1].pods.metric.name: Invalid value: "a/b": may not contain \'/\'',
      'spec.metrics[1].pods.target.averageValue: Invalid value: "-1": must be positive',
      'spec.metrics[1].pods: Forbidden: must populate the given metric source only',
    ],
  ],
  [
    'a behaviour out of bounds',
    horizontalpodautoscalers,
    {
      maxReplicas: 2,
      scaleTargetRef,
      behavior: {
        scaleUp: { stabilizationWindowSeconds: 5000, selectPolicy: 'Some', policies: [] },
        scaleDown: { policies: [{ type: 'Foo', value: 0, periodSeconds: 5000 }] },
      },
    },
    [
      'spec.behavior.scaleUp.stabilizationWindowSeconds: Invalid value: 5000: must be less than or equal to 3600',
      'spec.behavior.scaleUp.selectPolicy: Unsupported value: "Some": supported values: "Disabled", "Max", "Min"',
      'spec.behavior.scaleUp.policies: Required value: must specify at least one Policy',
      'spec.behavior.scaleDown.policies[0].type: Unsupported value: "Foo": supported values: "Percent", "Pods"',
      'spec.behavior.scaleDown.policies[0].value: Invalid value: 0: must be greater than zero',
      'spec.behavior.scaleDown.policies[0].periodSeconds: Invalid value: 5000: must be less than or equal to 1800',
    ],
  ],
  [
    'resources and scopes that quotas do not know',
    resourcequotas,
    { hard: { foo: '1', 'count/x': '1.5', memory: '1Gi' }, scopes: ['BestEffort', 'NotBestEffort', 'Foo'] },
    [
      'spec.hard[foo]: Invalid value: "foo": must be a standard resource type or fully qualified',
      'spec.hard[foo]: Invalid value: "foo": must be a standard resource for quota',
      'spec.hard[count/x]: Invalid value: "1.5": must be an integer',
      'spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Foo"]: unsupported scope applied to resource',
      'spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Foo"]: unsupported scope',
      'spec.scopes: Invalid value: ["BestEffort","NotBestEffort","Foo"]: conflicting scopes',
    ],
  ],
  [
    'limits of one type twice, and values in a wrong order',
    limitranges,
    {
      limits: [
        { type: 'Container', max: { cpu: '1' }, default: { cpu: '2' }, maxLimitRequestRatio: { cpu: '500m' } },
        { type: 'Container' },
        { type: 'PersistentVolumeClaim' },
      ],
    },
    [
      'spec.limits[0].default[cpu]: Invalid value: "1": default value 2 is greater than max value 1',
      'spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: "500m": ratio 500m is less than 1',
      'spec.limits[1].type: Duplicate value: "Container"',
      'spec.limits[2].limits: Required value: either minimum or maximum storage value is required, but neither was provided',
    ],
  ],
  [
    'indexes and policies of a job',
    jobs,
    {
      ...{ completionMode: 'Indexed', completions: 3, backoffLimitPerIndex: 1, maxFailedIndexes: 5, managedBy: 'me' },
      selector: { matchLabels: { a: 'b' } },
      podReplacementPolicy: 'TerminatingOrFailed',
      successPolicy: {
        rules: [{ succeededIndexes: '0-999999999999' }, { succeededIndexes: '2-1' }, { succeededCount: 4 }, {}],
      },
      podFailurePolicy: {
        rules: [
          { action: 'Foo', onExitCodes: { operator: 'In', values: [2, 0, 2], containerName: 'x' } },
          { action: 'Ignore' },
        ],
      },
      template: {
        metadata: { labels: { a: 'b' } },
        spec: { ...podDefaults, restartPolicy: 'Never', containers: [containerDefaults] },
      },
    },
    [
      'spec.managedBy: Invalid value: "me": must be a domain-prefixed path (such as "acme.io/foo")',
      'spec.maxFailedIndexes: Invalid value: 5: must be less than or equal to completions',
      'spec.successPolicy.rules[0].succeededIndexes: Invalid value: "0-999999999999": error parsing succeededIndexes: too large index: "999999999999"',
      'spec.successPolicy.rules[1].succeededIndexes: Invalid value: "2-1": error parsing succeededIndexes: non-increasing order, previous: 2, current: 1',
      'spec.successPolicy.rules[2].succeededCount: Invalid value: 4: must be less than or equal to 3 (the number of specified completions)',
      'spec.successPolicy.rules[3]: Required value: at least one of succeededCount or succeededIndexes must be specified',
      'spec.podFailurePolicy.rules[0].action: Unsupported value: "Foo": supported values: "Count", "FailIndex", "FailJob", "Ignore"',
      'spec.podFailurePolicy.rules[0].onExitCodes.containerName: Invalid value: "x": must be one of the container or initContainer names in the pod template',
      'spec.podFailurePolicy.rules[0].onExitCodes.values[1]: Invalid value: 0: must not be 0 for the In operator',
      'spec.podFailurePolicy.rules[0].onExitCodes.values[2]: Duplicate value: 2',
      'spec.podFailurePolicy.rules[0].onExitCodes.values: Invalid value: [2,0,2]: must be ordered',
      'spec.podFailurePolicy.rules[1]: Invalid value: "": specifying one of OnExitCodes and OnPodConditions is required',
      'spec.podReplacementPolicy: Unsupported value: "TerminatingOrFailed": supported values: "Failed"',
    ],
  ],
  [
    'a share of more than all',
    poddisruptionbudgets,
    { maxUnavailable: '101%', selector: {} },
    ['spec.maxUnavailable: Invalid value: "101%": must not be greater than 100%'],
  ],
  [
    'paths and backends of no use',
    ingresses,
    http(
      { path: 'a', pathType: 'Prefix', backend: {} },
      { path: '/a//b/..', pathType: 'Exact', backend: toService('s', { name: 'x', number: 1 }) },
      { path: '/', pathType: 'Some', backend: toService('s', { number: 70_000 }) },
    ),
    [
      'spec.rules[0].http.paths[0].path: Invalid value: "a": must be an absolute path',
      'spec.rules[0].http.paths[0].backend: Invalid value: "": resource or service backend is required',
      'spec.rules[0].http.paths[1].path: Invalid value: "/a//b/..": must not contain \'//\'',
      'spec.rules[0].http.paths[1].path: Invalid value: "/a//b/..": cannot end with \'/..\'',
      'spec.rules[0].http.paths[1].backend: Invalid value: "": cannot set both port name & port number',
      'spec.rules[0].http.paths[2].pathType: Unsupported value: "Some": supported values: "Exact", "ImplementationSpecific", "Prefix"',
      'spec.rules[0].http.paths[2].backend.service.port.number: Invalid value: 70000: must be between 1 and 65535, inclusive',
    ],
  ],
  [
    'a class of ingresses that nobody serves',
    ingressclasses,
    { controller: 'nobody', parameters: { kind: 'K', name: 'n', scope: 'Namespace' } },
    [
      'spec.controller: Invalid value: "nobody": must be a domain-prefixed path (such as "acme.io/foo")',
      "spec.parameters.namespace: Required value: `parameters.scope` is set to 'Namespace'",
    ],
  ],
  [
    'a class of ingresses of a host and a path that cannot be',
    ingressclasses,
    { controller: 'Example/a b' },
    [
      `spec.controller: Invalid value: "Example": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an alphanumeric character (e.g. 'example.com', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')`,
      `spec.controller: Invalid value: "a b": Invalid path (regex used for validation is '[A-Za-z0-9/\\-._~%!$&'()*+,;=:]+')`,
    ],
  ],
  [
    'ports and peers of no use',
    networkpolicies,
    {
      podSelector: {},
      policyTypes: ['Foo'],
      ingress: [
        {
          ports: [{ port: 80, endPort: 70 }, { port: 'web', endPort: 90 }, { endPort: 90 }],
          from: [{}, { ipBlock: { cidr: '10.0.0.0/8', except: ['11.0.0.0/8', '10.0.0.0/8'] } }],
        },
      ],
    },
    [
      'spec.ingress[0].ports[0].endPort: Invalid value: 70: must be greater than or equal to `port`',
      'spec.ingress[0].ports[1].endPort: Invalid value: 90: may not be specified when `port` is non-numeric',
      'spec.ingress[0].ports[2].endPort: Invalid value: 90: may not be specified when `port` is not specified',
      'spec.ingress[0].from[0]: Required value: must specify a peer',
      'spec.ingress[0].from[1].ipBlock.except[0]: Invalid value: "11.0.0.0/8": must be a strict subset of `cidr`',
      'spec.ingress[0].from[1].ipBlock.except[1]: Invalid value: "10.0.0.0/8": must be a strict subset of `cidr`',
      'spec.policyTypes[0]: Unsupported value: "Foo": supported values: "Ingress", "Egress"',
    ],
  ],
];

describe('mistakes in new objects', () => {
  for (const [name, resource, spec, expected] of table) {
    it(`are told: ${name}`, () =>
      assert.deepEqual(said(validateCreate(resource, objectOf(spec, resource.namespaced))), expected));
  }
});

describe('changes that are not to be made', () => {
  const service = (clusterIPs: string[], ipFamilies: string[]) =>
    objectOf({
      ...{ type: 'ClusterIP', sessionAffinity: 'None', ports: [{ port: 80, targetPort: 80, protocol: 'TCP' }] },
      ...{ clusterIP: clusterIPs[0], clusterIPs, ipFamilies },
    });
  const both = service(['10.96.0.9', 'fd00::9'], ['IPv4', 'IPv6']);

  it('are another address of the second family, or addresses of another family', () => {
    const moved = service(['10.96.0.9', 'fd00::8'], ['IPv4', 'IPv6']);
    assert.deepEqual(said(validateUpdate(services, moved, both, '')), [
      'spec.clusterIPs[1]: Invalid value: ["10.96.0.9","fd00::8"]: may not change once set',
    ]);
    const swapped = service(['10.96.0.9', 'fd00::9'], ['IPv6', 'IPv4']);
    assert.deepEqual(said(validateUpdate(services, swapped, both, '')).slice(1), [
      'spec.clusterIPs[0]: Invalid value: "10.96.0.9": expected an IPv6 value as indicated by `ipFamilies[0]`',
      'spec.clusterIPs[1]: Invalid value: "fd00::9": expected an IPv4 value as indicated by `ipFamilies[1]`',
    ]);
  });

  it('are the scopes of a quota', () => {
    const [before, now] = [
      objectOf({ hard: { pods: '1' }, scopes: ['BestEffort'] }),
      objectOf({ hard: { pods: '1' } }),
    ];
    assert.deepEqual(said(validateUpdate(resourcequotas, now, before, '')), [
      'spec.scopes: Invalid value: []: field is immutable',
    ]);
  });
});

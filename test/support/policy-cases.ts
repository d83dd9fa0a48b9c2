// Policies to be tried with packets: the scenarios of Kubernetes' own end-to-end tests, and combinations of them. Pods are
// those of pod-network-cluster.ts: a and b in the namespaces x, y and z.
import type { NetworkPolicy, NetworkPolicySpec } from '#kube/api/generated/networking-v1.ts';

export interface PolicyCase {
  name: string;
  policies: NetworkPolicy[];
  /** Instead of `ns: NAME` on each. */
  namespaceLabels?: Record<string, Record<string, string>>;
}

const policy = (namespace: string, name: string, spec: NetworkPolicySpec): NetworkPolicy => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace, name },
  spec,
});

const a = { matchLabels: { pod: 'a' } };
const ns = (name: string) => ({ matchLabels: { ns: name } });
const all = {};

export const policyCases: PolicyCase[] = [
  {
    name: 'deny all ingress of a namespace',
    policies: [policy('x', 'deny', { podSelector: all, policyTypes: ['Ingress'] })],
  },
  {
    name: 'deny all egress of a namespace',
    policies: [policy('x', 'deny', { podSelector: all, policyTypes: ['Egress'] })],
  },
  {
    name: 'deny everything to and from one pod',
    policies: [policy('y', 'deny', { podSelector: a, policyTypes: ['Ingress', 'Egress'] })],
  },
  {
    name: 'allow ingress from the pods of the same namespace only',
    policies: [policy('x', 'own', { podSelector: all, ingress: [{ from: [{ podSelector: all }] }] })],
  },
  {
    name: 'allow ingress from namespaces by expressions',
    policies: [
      policy('x', 'near', {
        podSelector: all,
        ingress: [
          {
            from: [{ namespaceSelector: { matchExpressions: [{ key: 'ns', operator: 'NotIn', values: ['x', 'y'] }] } }],
          },
        ],
      }),
    ],
  },
  {
    name: 'allow ingress from pods and namespaces that match both, or either',
    policies: [
      policy('x', 'both', {
        podSelector: a,
        ingress: [{ from: [{ namespaceSelector: ns('z'), podSelector: { matchLabels: { pod: 'b' } } }] }],
      }),
      policy('z', 'either', {
        podSelector: a,
        ingress: [{ from: [{ namespaceSelector: ns('y') }, { podSelector: { matchLabels: { pod: 'b' } } }] }],
      }),
    ],
  },
  {
    name: 'allow by number, by protocol and by range of ports',
    policies: [
      policy('x', 'tcp', { podSelector: a, ingress: [{ ports: [{ port: 80 }] }] }),
      policy('y', 'udp', { podSelector: all, ingress: [{ ports: [{ protocol: 'UDP' }] }] }),
      policy('z', 'range', {
        podSelector: all,
        ingress: [{ ports: [{ port: 79, endPort: 80 }, { port: 81, endPort: 90, protocol: 'UDP' }, { port: 80 }] }],
      }),
    ],
  },
  {
    name: 'allow ingress by the names that pods give their ports',
    policies: [
      policy('x', 'named', { podSelector: all, ingress: [{ ports: [{ port: 'web' }, { port: 'no-such-port' }] }] }),
      policy('z', 'named', {
        podSelector: all,
        ingress: [{ from: [{ namespaceSelector: ns('x') }], ports: [{ port: 'web', protocol: 'UDP' }] }],
      }),
    ],
  },
  {
    name: 'allow egress by the names that other pods give their ports',
    policies: [
      policy('x', 'to-named', { podSelector: all, egress: [{ ports: [{ port: 'web' }] }], policyTypes: ['Egress'] }),
      policy('y', 'to-named', {
        podSelector: all,
        egress: [
          { to: [{ namespaceSelector: ns('z') }, { podSelector: a }], ports: [{ port: 'web', protocol: 'UDP' }] },
        ],
        policyTypes: ['Egress'],
      }),
      policy('z', 'to-block', {
        podSelector: a,
        egress: [{ to: [{ ipBlock: { cidr: '10.244.1.0/24' } }], ports: [{ port: 'web' }] }],
        policyTypes: ['Egress'],
      }),
    ],
  },
  {
    name: 'allow by blocks of addresses with exceptions, in both families',
    policies: [
      policy('x', 'blocks', {
        podSelector: all,
        ingress: [
          {
            from: [
              { ipBlock: { cidr: '10.244.0.0/16', except: ['10.244.2.0/30', '10.244.1.3/32'] } },
              { ipBlock: { cidr: 'fd00:244::/32', except: ['fd00:244:2::/64'] } },
            ],
          },
        ],
      }),
      policy('z', 'out', {
        podSelector: all,
        egress: [{ to: [{ ipBlock: { cidr: '0.0.0.0/0', except: ['10.244.1.0/24'] } }] }],
        policyTypes: ['Egress'],
      }),
    ],
  },
  {
    name: 'add up: each policy allows more, none takes away',
    policies: [
      policy('y', 'deny', { podSelector: all, policyTypes: ['Ingress', 'Egress'] }),
      policy('y', 'from-x', { podSelector: all, ingress: [{ from: [{ namespaceSelector: ns('x') }] }] }),
      policy('y', 'on-81', { podSelector: a, ingress: [{ ports: [{ port: 81 }] }] }),
      policy('y', 'to-z', {
        podSelector: a,
        egress: [{ to: [{ namespaceSelector: ns('z') }] }],
        policyTypes: ['Egress'],
      }),
    ],
  },
  {
    name: 'hold at both ends: egress of the one and ingress of the other',
    policies: [
      policy('x', 'out', { podSelector: a, egress: [{ ports: [{ port: 80 }] }], policyTypes: ['Egress'] }),
      policy('z', 'in', { podSelector: all, ingress: [{ ports: [{ port: 81 }, { port: 80, protocol: 'UDP' }] }] }),
      policy('y', 'in', { podSelector: all, ingress: [{ from: [{ namespaceSelector: ns('x'), podSelector: a }] }] }),
    ],
  },
  {
    name: 'isolate by rules alone where no type is named',
    policies: [
      policy('x', 'egress-too', { podSelector: a, egress: [{ to: [{ namespaceSelector: ns('y') }] }] }),
      policy('y', 'only-egress', {
        podSelector: all,
        ingress: [],
        egress: [{ to: [{ podSelector: all }] }],
        policyTypes: ['Egress'],
      }),
    ],
  },
  {
    name: 'allow all, beside a policy that denies all',
    policies: [
      policy('x', 'deny', { podSelector: all, policyTypes: ['Ingress', 'Egress'] }),
      policy('x', 'allow', { podSelector: all, ingress: [{}], egress: [{}], policyTypes: ['Ingress', 'Egress'] }),
    ],
  },
  {
    name: 'follow the labels of namespaces as they change',
    policies: [
      policy('x', 'near', {
        podSelector: all,
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'blue' } } }] }],
      }),
    ],
    namespaceLabels: { x: {}, y: { team: 'blue' }, z: { team: 'red' } },
  },
  {
    name: 'follow them again',
    policies: [
      policy('x', 'near', {
        podSelector: all,
        ingress: [{ from: [{ namespaceSelector: { matchLabels: { team: 'blue' } } }] }],
      }),
    ],
    namespaceLabels: { x: {}, y: { team: 'red' }, z: { team: 'blue' } },
  },
  { name: 'none again', policies: [] },
];

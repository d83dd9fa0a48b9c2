// The sample workload of `berth up --demo`: two replicas of a small web server behind a Service, with the
// page in a ConfigMap.
import type { Deployment } from '#kube/api/generated/apps-v1.ts';
import type { ConfigMap, Service } from '#kube/api/generated/core-v1.ts';
import type { Draft } from '#kube/api/resource.ts';
import { busyboxImage } from '../../packaging/images/build-images.ts';

export const sampleName = 'hello';
export const sampleNamespace = 'default';
const port = 8080;
const labels = { app: sampleName };

/** The page says which pod answered, so that a reload shows the Service spreading requests. */
const page = `#!/bin/sh
printf 'Content-Type: text/plain\\r\\n\\r\\n'
echo "Hello from berth."
echo "This page comes from pod $(hostname) on node $NODE_NAME."
echo "Its text is the ConfigMap ${sampleName}: kubectl edit configmap ${sampleName}"
`;

export const sampleConfigMap: Draft<ConfigMap> = {
  apiVersion: 'v1',
  kind: 'ConfigMap',
  metadata: { name: sampleName, namespace: sampleNamespace, labels },
  data: { 'index.cgi': page },
};

export const sampleDeployment: Draft<Deployment> = {
  apiVersion: 'apps/v1',
  kind: 'Deployment',
  metadata: { name: sampleName, namespace: sampleNamespace, labels },
  spec: {
    replicas: 2,
    selector: { matchLabels: labels },
    template: {
      metadata: { labels },
      spec: {
        terminationGracePeriodSeconds: 1,
        containers: [
          {
            name: 'web',
            image: busyboxImage,
            command: ['httpd', '-f', '-v', '-p', String(port), '-h', '/www'],
            env: [{ name: 'NODE_NAME', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
            ports: [{ name: 'http', containerPort: port }],
            readinessProbe: { httpGet: { path: '/', port: 'http' }, periodSeconds: 2 },
            resources: { requests: { cpu: '10m', memory: '16Mi' }, limits: { memory: '64Mi' } },
            volumeMounts: [{ name: 'page', mountPath: '/www/cgi-bin' }],
          },
        ],
        volumes: [{ name: 'page', configMap: { name: sampleName, defaultMode: 0o755 } }],
      },
    },
  },
};

export const sampleService: Draft<Service> = {
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: sampleName, namespace: sampleNamespace, labels },
  spec: { type: 'NodePort', selector: labels, ports: [{ name: 'http', port: 80, targetPort: 'http' }] },
};

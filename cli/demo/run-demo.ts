// Applies the sample, waits for it, and fetches its page through the cluster IP and the node port.
import { Pool } from 'undici';
import * as resources from '#kube/api/generated/resources.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { ApiClient } from '#kube/client/types.ts';
import type { Clock } from '#kube/process/clock.ts';
import type { Exec } from '#kube/process/exec.ts';
import type { ClusterLayout } from '../up/layout.ts';
import type { Report } from '../up/progress-message.ts';
import { adminClient } from '../up/start-cluster.ts';
import { sampleConfigMap, sampleDeployment, sampleName, sampleNamespace, sampleService } from './sample.ts';

const fieldManager = 'berth-demo';
const rolloutTimeoutMs = 60_000;
const pollMs = 50;
/** Short: a packet sent before the rule was there is lost, and the kernel would wait seconds to send it again. */
const connectTimeoutMs = 300;
const pageAttempts = 100;

export interface DemoOptions {
  layout: ClusterLayout;
  nodeIP: string;
  exec: Exec;
  clock: Clock;
  env: Record<string, string | undefined>;
  report: Report;
}

async function apply<T extends KubeObject>(client: ApiClient, resource: Resource<T>, object: object): Promise<T> {
  const key = { namespace: sampleNamespace, name: sampleName };
  return await client.patch(resource, key, 'apply', object, { fieldManager, force: true });
}

async function waitForRollout(client: ApiClient, { clock, report }: DemoOptions): Promise<string> {
  const deadlineMs = clock.monotonicMs() + rolloutTimeoutMs;
  let shown = '';
  for (;;) {
    const { spec, status, metadata } = await client.get(resources.deployments, {
      namespace: sampleNamespace,
      name: sampleName,
    });
    const wanted = spec.replicas ?? 1;
    const text = `${status?.availableReplicas ?? 0} of ${wanted} replicas available`;
    const current = (status?.observedGeneration ?? 0) >= (metadata.generation ?? 0);
    if (current && status?.availableReplicas === wanted && status.updatedReplicas === wanted) return text;
    if (text !== shown) report.detail('rollout', text);
    shown = text;
    if (clock.monotonicMs() > deadlineMs) {
      throw new Error(
        `the sample is not available after ${rolloutTimeoutMs / 1000} s: kubectl describe pods -l app=${sampleName}`,
      );
    }
    await clock.sleep(pollMs);
  }
}

/** A new rule may take a moment to reach the kernel. */
async function fetchPage(clock: Clock, url: string): Promise<string> {
  let last: unknown;
  for (let attempt = 0; attempt < pageAttempts; attempt += 1) {
    const { origin, pathname } = new URL(url);
    const pool = new Pool(origin, { connect: { timeout: connectTimeoutMs }, headersTimeout: 2000, bodyTimeout: 2000 });
    try {
      const answer = await pool.request({ method: 'GET', path: pathname });
      const text = await answer.body.text();
      if (answer.statusCode === 200) return text.trim();
      last = new Error(`${url} answered ${answer.statusCode}`);
    } catch (error) {
      last = error;
    } finally {
      await pool.destroy();
    }
    await clock.sleep(pollMs);
  }
  throw new Error(`cannot fetch ${url}: ${last instanceof Error ? last.message : String(last)}`, { cause: last });
}

/** Runs the demonstration; answers the text to show. */
export async function runDemo(options: DemoOptions): Promise<string> {
  const { clock, report, nodeIP } = options;
  const client = adminClient(options);
  try {
    report.start('apply');
    await apply(client, resources.configmaps, sampleConfigMap);
    await apply(client, resources.deployments, sampleDeployment);
    const service = await apply(client, resources.services, sampleService);
    report.done('apply', `Deployment, Service and ConfigMap ${sampleName}`);
    report.start('rollout');
    report.done('rollout', await waitForRollout(client, options));
    report.start('page');
    const clusterUrl = `http://${service.spec.clusterIP}/`;
    const nodeUrl = `http://${nodeIP}:${service.spec.ports?.[0]?.nodePort}/`;
    const pages = [clusterUrl, nodeUrl].map(async (url) => [url, await fetchPage(clock, url)] as const);
    const texts = (await Promise.all(pages)).map(([url, text]) => `$ curl ${url}\n${text}`);
    report.done('page', 'through the cluster IP and the node port');
    return texts.join('\n\n');
  } finally {
    await client.close();
  }
}

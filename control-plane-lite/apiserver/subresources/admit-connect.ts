// Connections to pods, services and nodes are admitted too: webhooks and policies may refuse them.
import type { KubeObject } from '#kube/api/resource.ts';
import type { ServedResource } from '../../registry/resource-table.ts';
import { finishSteps } from '../../registry/steps.ts';
import { type ApiContext, namespaceOf } from '../api-context.ts';
import type { Exchange } from '../http/exchange.ts';

const connections = new Set(['exec', 'attach', 'portforward', 'proxy']);
const flags = ['stdin', 'stdout', 'stderr', 'tty'];

/** The options of a connection, as the object that is admitted. */
function connectOptions({ info }: Exchange, kind: string): KubeObject {
  const { query, subresource } = info;
  const options: Record<string, unknown> = { kind, apiVersion: 'v1' };
  if (subresource === 'proxy') options['path'] = query.get('path') ?? '';
  if (subresource === 'exec' || subresource === 'attach') {
    for (const flag of flags) if (['true', '1'].includes(query.get(flag) ?? '')) options[flag] = true;
    const container = query.get('container') ?? '';
    if (container !== '') options['container'] = container;
  }
  if (subresource === 'exec') options['command'] = query.getAll('command');
  if (subresource === 'portforward') {
    const ports = query
      .getAll('ports')
      .flatMap((text) => text.split(','))
      .map(Number);
    if (ports.length > 0) options['ports'] = ports;
  }
  return options as unknown as KubeObject;
}

/** Rejects with StatusError for a connection that is refused. Anything but a connection passes. */
export async function admitConnect(api: ApiContext, exchange: Exchange, served: ServedResource): Promise<void> {
  const { info } = exchange;
  const sub = served.subresources.get(info.subresource);
  if (sub === undefined || !connections.has(info.subresource)) return;
  const { registry } = api;
  const request = {
    verb: 'connect' as const,
    served,
    subresource: info.subresource,
    namespace: namespaceOf(exchange, served),
    name: info.name,
    object: connectOptions(exchange, sub.kind),
    previous: undefined,
    context: {
      user: exchange.user,
      nowMs: exchange.nowMs,
      dryRun: false,
      fieldManager: '',
      warn: (text: string) => exchange.warnings.push(text),
    },
    objects: registry.objects,
  };
  await finishSteps(registry.admission.mutate(request));
  (await finishSteps(registry.admission.validate(request)))();
}

// componentstatuses: the parts of the control plane, which are one process here. Deprecated, still asked for.
import type { KubeObject } from '#kube/api/resource.ts';
import type { TablePrinter } from '../../registry/kind-rules.ts';
import { notFound } from '../../registry/status-errors.ts';
import type { ResourceHandler } from '../api-context.ts';
import { sendBytes, sendObject } from '../http/exchange.ts';
import { negotiate } from '../http/negotiate.ts';
import { representerFor } from '../representation.ts';

const names = ['controller-manager', 'etcd-0', 'scheduler'];

function statusOf(name: string): KubeObject & { conditions: object[] } {
  const conditions = [{ type: 'Healthy', status: 'True', message: 'ok' }];
  return { kind: 'ComponentStatus', apiVersion: 'v1', metadata: { name }, conditions };
}

const column = (name: string, format = '') => ({ name, type: 'string', format, description: '', priority: 0 });

const printer: TablePrinter = {
  columns: [column('Name', 'name'), column('Status'), column('Message'), column('Error')],
  cells: ({ metadata }) => [metadata.name, 'Healthy', 'ok', ''],
};

export const componentStatuses: ResourceHandler = async (api, exchange, served) => {
  const { name, query } = exchange.info;
  if (name !== '') {
    if (!names.includes(name)) throw notFound(served.resource, name);
    sendObject(exchange, 200, statusOf(name));
    return;
  }
  const deps = { ...api, parse: api.registry.parse, printerFor: () => printer };
  const representer = representerFor(negotiate(exchange.request.headers.accept), served, query, deps);
  const entries = names.map((each) => ({ key: each, revision: 0, value: Buffer.from(JSON.stringify(statusOf(each))) }));
  sendBytes(exchange, 200, representer.contentType, await representer.many(entries, '{}'));
};

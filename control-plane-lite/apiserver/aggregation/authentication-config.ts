// The config map by which aggregated servers know whom to believe: the authorities of clients and of this server.
import { configmaps } from '#kube/api/generated/resources.ts';
import type { KubeObject } from '#kube/api/resource.ts';
import type { ClusterPki } from '../../pki/cluster-pki.ts';
import type { Registry } from '../../registry/registry.ts';
import type { RequestContext } from '../../registry/request-context.ts';
import { updateObject } from '../../registry/verbs/update.ts';

const namespace = 'kube-system';
const name = 'extension-apiserver-authentication';

/** Completes the map, which is a bootstrap object. */
export async function ensureAuthenticationConfig(
  registry: Registry,
  pki: Pick<ClusterPki, 'ca' | 'frontProxy'>,
  context: RequestContext,
): Promise<void> {
  const wanted: Record<string, string> = {
    'client-ca-file': pki.ca.certPem,
    'requestheader-allowed-names': '["front-proxy-client"]',
    'requestheader-client-ca-file': pki.frontProxy.ca.certPem,
    'requestheader-extra-headers-prefix': '["X-Remote-Extra-"]',
    'requestheader-group-headers': '["X-Remote-Group"]',
    'requestheader-uid-headers': '["X-Remote-Uid"]',
    'requestheader-username-headers': '["X-Remote-User"]',
  };
  const existing = registry.objects.get(configmaps, namespace, name);
  if (existing === undefined) return;
  if (Object.entries(wanted).every(([key, value]) => existing.data?.[key] === value)) return;
  const change = (current: KubeObject): KubeObject => {
    const { data } = current as KubeObject & { data?: Record<string, string> };
    return { ...current, data: { ...data, ...wanted } } as KubeObject;
  };
  await updateObject(
    registry,
    registry.table.get(configmaps),
    { namespace, name, subresource: '', change, isPatch: true },
    context,
  );
}

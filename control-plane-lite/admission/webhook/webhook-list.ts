// The webhooks of all configurations of a kind, compiled, in the order in which they are asked; kept until one changes.
import type {
  MutatingWebhook,
  MutatingWebhookConfiguration,
  ValidatingWebhook,
  ValidatingWebhookConfiguration,
} from '#kube/api/generated/admissionregistration-v1.ts';
import type { KubeObject, Resource } from '#kube/api/resource.ts';
import type { Registry } from '../../registry/registry.ts';
import { conditionNames } from '../matching/condition-names.ts';
import { type CompiledCondition, compileConditions } from '../matching/match-conditions.ts';

export type Webhook = ValidatingWebhook & Pick<MutatingWebhook, 'reinvocationPolicy'>;

export interface CompiledWebhook {
  /** Unique among all: names may be there twice. */
  id: string;
  configuration: string;
  webhook: Webhook;
  conditions: CompiledCondition[];
}

/** Answers with the webhooks as they are now. */
export function followWebhooks<T extends KubeObject & (ValidatingWebhookConfiguration | MutatingWebhookConfiguration)>(
  { cache, table, objects }: Pick<Registry, 'cache' | 'table' | 'objects'>,
  resource: Resource<T>,
): () => readonly CompiledWebhook[] {
  let known: readonly CompiledWebhook[] | undefined;
  cache.onChange(table.get(resource).storagePrefix, () => {
    known = undefined;
  });
  return () => {
    known ??= objects
      .list(resource)
      .toSorted((a, b) => (a.metadata.name < b.metadata.name ? -1 : 1))
      .flatMap(({ metadata, webhooks = [] }) =>
        webhooks.map((webhook, index) => ({
          id: `${metadata.uid}/${webhook.name}/${index}`,
          configuration: metadata.name,
          webhook: webhook as Webhook,
          conditions: compileConditions(webhook.matchConditions, conditionNames),
        })),
      );
    return known;
  };
}

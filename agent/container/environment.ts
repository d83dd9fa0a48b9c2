// The environment of a container: envFrom, env in order, then the services that nothing overrides.
import type { ConfigMap, Container, EnvVar, FileKeySelector, Pod, Secret } from '#kube/api/generated/core-v1.ts';
import { type DownwardSettings, fieldValue, resourceValue } from './downward-value.ts';
import { parseEnvFile } from './env-file.ts';
import { expandVariables } from './expand-variables.ts';

/** Reads the objects variables come from. Undefined: the object does not exist. */
export interface EnvironmentSources {
  configMap(namespace: string, name: string): Promise<ConfigMap | undefined>;
  secret(namespace: string, name: string): Promise<Secret | undefined>;
  /** The text of a file of one of the pod's volumes; undefined when the file is not there. Throws for unknown volumes. */
  file?(volumeName: string, path: string): Promise<string | undefined>;
}

/** A container whose definition refers to something that is not there; reported as CreateContainerConfigError. */
export class ContainerConfigError extends Error {
  readonly code = 'CREATE_CONTAINER_CONFIG';

  constructor(message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'ContainerConfigError';
  }
}

function decodeSecret(secret: Secret): Record<string, string> {
  return Object.fromEntries(
    Object.entries(secret.data ?? {}).map(([key, value]) => [key, Buffer.from(value, 'base64').toString('utf8')]),
  );
}

/** Relaxed rules of v1.36: any printable ASCII character but `=`. */
function isVariableName(name: string): boolean {
  return /^[\x20-\x3c\x3e-\x7e]+$/.test(name);
}

async function fromSources(
  pod: Pod,
  container: Container,
  sources: EnvironmentSources,
  result: Map<string, string>,
): Promise<void> {
  const namespace = pod.metadata.namespace ?? 'default';
  for (const { prefix = '', configMapRef, secretRef } of container.envFrom ?? []) {
    let values: Record<string, string> = {};
    if (configMapRef !== undefined) {
      const name = configMapRef.name ?? '';
      const configMap = await sources.configMap(namespace, name);
      if (configMap === undefined) {
        if (configMapRef.optional) continue;
        throw new ContainerConfigError(`configmap "${name}" not found`);
      }
      values = configMap.data ?? {};
    } else if (secretRef !== undefined) {
      const name = secretRef.name ?? '';
      const secret = await sources.secret(namespace, name);
      if (secret === undefined) {
        if (secretRef.optional) continue;
        throw new ContainerConfigError(`secret "${name}" not found`);
      }
      values = decodeSecret(secret);
    }
    for (const [key, value] of Object.entries(values)) {
      if (isVariableName(prefix + key)) result.set(prefix + key, value);
    }
  }
}

async function fileValue(
  { volumeName, path, key, optional }: FileKeySelector,
  sources: EnvironmentSources,
): Promise<string | undefined> {
  const text = await sources.file?.(volumeName, path);
  if (text === undefined) {
    if (optional) return undefined;
    throw new ContainerConfigError(`failed to open environment variable file "${path}": no such file`);
  }
  const value = parseEnvFile(text, key);
  if (value !== '') return value;
  if (optional) return undefined;
  throw new ContainerConfigError(`environment variable key "${key}" not found in file "${path}"`);
}

async function valueFrom(
  pod: Pod,
  container: Container,
  variable: EnvVar,
  sources: EnvironmentSources,
  settings: DownwardSettings,
): Promise<string | undefined> {
  const namespace = pod.metadata.namespace ?? 'default';
  const { fieldRef, resourceFieldRef, configMapKeyRef, secretKeyRef, fileKeyRef } = variable.valueFrom ?? {};
  if (fieldRef !== undefined) return fieldValue(pod, fieldRef, settings);
  if (resourceFieldRef !== undefined) return resourceValue(pod, container, resourceFieldRef, settings);
  if (fileKeyRef !== undefined) return fileValue(fileKeyRef, sources);
  if (configMapKeyRef !== undefined) {
    const { name = '', key, optional } = configMapKeyRef;
    const configMap = await sources.configMap(namespace, name);
    const value = configMap?.data?.[key];
    if (value !== undefined || optional) return value;
    if (configMap === undefined) throw new ContainerConfigError(`configmap "${name}" not found`);
    throw new ContainerConfigError(`couldn't find key ${key} in ConfigMap ${namespace}/${name}`);
  }
  if (secretKeyRef !== undefined) {
    const { name = '', key, optional } = secretKeyRef;
    const secret = await sources.secret(namespace, name);
    const value = secret === undefined ? undefined : decodeSecret(secret)[key];
    if (value !== undefined || optional) return value;
    if (secret === undefined) throw new ContainerConfigError(`secret "${name}" not found`);
    throw new ContainerConfigError(`couldn't find key ${key} in Secret ${namespace}/${name}`);
  }
  return undefined;
}

/**
 * Computes the variables in the order they are passed. References see variables defined before and services.
 * Throws ContainerConfigError when a required object or key is missing.
 */
export async function buildEnvironment(
  pod: Pod,
  container: Container,
  services: ReadonlyMap<string, string>,
  sources: EnvironmentSources,
  settings: DownwardSettings,
): Promise<Map<string, string>> {
  const result = new Map<string, string>();
  await fromSources(pod, container, sources, result);
  for (const variable of container.env ?? []) {
    let value: string | undefined;
    if (variable.valueFrom !== undefined) {
      try {
        value = await valueFrom(pod, container, variable, sources, settings);
      } catch (error) {
        if (error instanceof ContainerConfigError) throw error;
        throw new ContainerConfigError((error as Error).message, { cause: error });
      }
      if (value === undefined) continue;
    } else {
      value = expandVariables(variable.value ?? '', (name) => result.get(name) ?? services.get(name));
    }
    result.delete(variable.name);
    result.set(variable.name, value);
  }
  for (const [name, value] of services) if (!result.has(name)) result.set(name, value);
  return result;
}

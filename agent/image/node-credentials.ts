// The node's own registry credentials, where kubelet looks for them: a `config.json` in the root directory, the working
// directory, the home's and the root's `.docker`, else a `.dockercfg` in the same places' older form
// (pkg/credentialprovider: DefaultDockerConfigJSONPaths). The first file found is the one that counts.
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseDockerConfig, type RegistryCredential } from './pull-credentials.ts';

/** The files in their order; `legacy`: of the older form, without `auths`. */
export function nodeCredentialFiles(
  rootDir: string,
  workingDir: string,
  home: string,
): { path: string; legacy: boolean }[] {
  const json = [rootDir, workingDir, join(home, '.docker'), '/.docker'].map((dir) => join(dir, 'config.json'));
  const older = [rootDir, workingDir, home, '/'].map((dir) => join(dir, '.dockercfg'));
  return [...json.map((path) => ({ path, legacy: false })), ...older.map((path) => ({ path, legacy: true }))];
}

/** Reads the first file that there is; no credentials without one. */
export async function readNodeCredentials(
  files: readonly { path: string; legacy: boolean }[],
): Promise<RegistryCredential[]> {
  for (const { path, legacy } of files) {
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text !== undefined) return parseDockerConfig(text, legacy);
  }
  return [];
}

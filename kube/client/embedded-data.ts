// Kubeconfig fields that come embedded as base64 or as the path of a file.
import { readFileSync } from 'node:fs';
import { ClientConfigError } from './config.ts';

function decodeBase64(text: string, field: string): string {
  if (!/^[A-Za-z0-9+/=\s]*$/.test(text)) throw new ClientConfigError(`${field} is not base64`);
  return Buffer.from(text, 'base64').toString('utf8');
}

/** PEM from an embedded field, or from the file beside it. */
export function embeddedOrFile(data: string | undefined, file: string | undefined, field: string): string | undefined {
  if (data !== undefined && data !== '') return decodeBase64(data, `${field}-data`);
  if (file === undefined || file === '') return undefined;
  try {
    return readFileSync(file, 'utf8');
  } catch (error) {
    throw new ClientConfigError(`cannot read ${field} ${file}: ${(error as Error).message}`, { cause: error });
  }
}

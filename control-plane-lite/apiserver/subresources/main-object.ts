// Subresources that are the object itself seen through a narrower door: status, finalize, approval, resize…
import { patchObject } from '../handlers/patch.ts';
import { getObject } from '../handlers/read.ts';
import { putObject } from '../handlers/write.ts';

/** GET, PUT and PATCH of the object; what the door lets through is up to strategy and isolation. */
export const mainObjectHandlers = { get: getObject, update: putObject, patch: patchObject } as const;

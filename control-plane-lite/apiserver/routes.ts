// Which handler serves which subresource and which computed resource.
import type { Routes } from './dispatch.ts';
import { patchObject } from './handlers/patch.ts';
import { putObject } from './handlers/write.ts';
import { postBinding } from './subresources/binding.ts';
import { mainObjectHandlers } from './subresources/main-object.ts';
import { scaleHandlers } from './subresources/scale.ts';

export const routes: Routes = {
  subresources: {
    status: mainObjectHandlers,
    scale: scaleHandlers,
    'namespaces/finalize': { update: putObject, patch: patchObject },
    'certificatesigningrequests/approval': mainObjectHandlers,
    'pods/resize': mainObjectHandlers,
    'pods/ephemeralcontainers': mainObjectHandlers,
    'pods/binding': { create: postBinding },
  },
  virtual: {
    '/bindings': postBinding,
  },
};

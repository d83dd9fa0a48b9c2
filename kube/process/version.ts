// Which release this is, and which Kubernetes release it speaks.
import manifest from '../../package.json' with { type: 'json' };

/** The project's own version, as in the user agent. */
export const berthVersion: string = manifest.version;

/** The Kubernetes release whose behaviour is implemented. */
export const kubernetesVersion = 'v1.36.2';

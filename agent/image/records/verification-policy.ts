// For which images that are already there a pod must show credentials: imagePullCredentialsVerificationPolicy. Pure.
import { UsageError } from '#kube/process/flags.ts';
import { parseImageReference, repositoryOf } from '../image-reference.ts';

/** Whether credentials are asked for; `wasPulled`: the agent, or a kubelet before it, pulled the image. */
export type VerificationPolicy = (image: string, wasPulled: boolean) => boolean;

/** An image name, or with a star in the end the beginning of some. */
interface AllowedImages {
  text: string;
  isPrefix: boolean;
}

function decodePattern(pattern: string): AllowedImages {
  const fail = (why: string): never => {
    throw new UsageError(`preloadedImagesVerificationAllowlist: ${JSON.stringify(pattern)} ${why}`);
  };
  if (pattern !== pattern.trim() || pattern === '') fail('has spaces around it, or is empty');
  const isPrefix = pattern.endsWith('/*');
  const text = isPrefix ? pattern.slice(0, -1) : pattern;
  if (text.includes('*')) fail('may have a star only at its end, after a slash');
  if (isPrefix) return text === '/' ? fail('needs the host of a registry') : { text, isPrefix };
  const reference = parseImageReference(text);
  if (reference === undefined) return fail('is not the name of an image');
  if (repositoryOf(reference) !== text) fail('must be a whole name with registry, without tag and digest');
  return { text, isPrefix };
}

/** Throws UsageError for a policy or a pattern that is none. */
export function createVerificationPolicy(name: string, allowlist: readonly string[]): VerificationPolicy {
  if (allowlist.length > 0 && name !== 'NeverVerifyAllowlistedImages') {
    throw new UsageError(
      'preloadedImagesVerificationAllowlist needs imagePullCredentialsVerificationPolicy: NeverVerifyAllowlistedImages',
    );
  }
  switch (name) {
    case 'NeverVerify':
      return () => false;
    case '':
    case 'NeverVerifyPreloadedImages':
      return (_, wasPulled) => wasPulled;
    case 'AlwaysVerify':
      return () => true;
    case 'NeverVerifyAllowlistedImages': {
      const allowed = allowlist.map(decodePattern);
      return (image) => {
        const reference = parseImageReference(image);
        if (reference === undefined) return true;
        const repository = repositoryOf(reference);
        return !allowed.some(({ text, isPrefix }) => (isPrefix ? repository.startsWith(text) : repository === text));
      };
    }
    default:
      throw new UsageError(
        `imagePullCredentialsVerificationPolicy "${name}" is not one of NeverVerify, NeverVerifyPreloadedImages, NeverVerifyAllowlistedImages, AlwaysVerify`,
      );
  }
}

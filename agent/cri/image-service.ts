// What the agent asks of the runtime's image store, in CRI v1 terms.
import type { AuthConfig } from '#proto/generated/cri/runtime/v1/AuthConfig.ts';
import type { Image__Output } from '#proto/generated/cri/runtime/v1/Image.ts';
import type { ImageFsInfoResponse__Output } from '#proto/generated/cri/runtime/v1/ImageFsInfoResponse.ts';
import type { ImageSpec } from '#proto/generated/cri/runtime/v1/ImageSpec.ts';
import type { PodSandboxConfig } from '#proto/generated/cri/runtime/v1/PodSandboxConfig.ts';

/** Images on this node. Every call throws CriError. */
export interface ImageService {
  listImages(signal?: AbortSignal): Promise<Image__Output[]>;
  /** Undefined when the image is not on this node. */
  imageStatus(image: ImageSpec, signal?: AbortSignal): Promise<Image__Output | undefined>;
  /** Returns the reference the runtime gave the image. */
  pullImage(
    image: ImageSpec,
    auth: AuthConfig | undefined,
    sandboxConfig: PodSandboxConfig,
    signal?: AbortSignal,
  ): Promise<string>;
  removeImage(image: ImageSpec, signal?: AbortSignal): Promise<void>;
  imageFsInfo(signal?: AbortSignal): Promise<ImageFsInfoResponse__Output>;
}

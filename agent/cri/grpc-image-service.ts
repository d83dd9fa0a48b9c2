// ImageService over gRPC. A pull may take long: whether it makes progress is the runtime's to judge.
import { type CriChannel, callUnary } from './grpc-channel.ts';
import type { ImageService } from './image-service.ts';

/** A pull that has not ended by then hangs. */
const pullTimeoutMs = 3600_000;

/** The image store behind `channel`. */
export function createGrpcImageService(channel: CriChannel, requestTimeoutMs: number): ImageService {
  const { image: client, imageMethods: methods } = channel;
  const short = (signal: AbortSignal | undefined) => ({ timeoutMs: requestTimeoutMs, signal });
  return {
    async listImages(signal) {
      return (await callUnary(client, methods.ListImages, {}, short(signal))).images;
    },
    async imageStatus(image, signal) {
      const answer = await callUnary(client, methods.ImageStatus, { image }, short(signal));
      return answer.image ?? undefined;
    },
    async pullImage(image, auth, sandboxConfig, signal) {
      const request = { image, sandboxConfig, ...(auth === undefined ? {} : { auth }) };
      return (await callUnary(client, methods.PullImage, request, { timeoutMs: pullTimeoutMs, signal })).imageRef;
    },
    async removeImage(image, signal) {
      await callUnary(client, methods.RemoveImage, { image }, short(signal));
    },
    imageFsInfo: (signal) => callUnary(client, methods.ImageFsInfo, {}, short(signal)),
  };
}

// What the command line uses of the agent.
export { openCriChannel } from './cri/grpc-channel.ts';
export { createGrpcRuntimeService } from './cri/grpc-runtime-service.ts';

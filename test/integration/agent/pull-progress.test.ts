// How far a pull is, as containerd tells it while a registry holds the layers back.
import assert from 'node:assert/strict';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, before, describe, it } from 'node:test';
import { type CriChannel, openCriChannel } from '../../../agent/cri/grpc-channel.ts';
import { createGrpcImageService } from '../../../agent/cri/grpc-image-service.ts';
import { createPullProgress } from '../../../agent/cri/pull-progress.ts';
import { eventually } from '../../support/eventually.ts';
import { containerdUnavailable, startTestContainerd, type TestContainerd } from '../../support/test-containerd.ts';
import { startTestRegistry, type TestRegistry } from '../../support/test-registry.ts';

describe('the bytes of a pull', { skip: containerdUnavailable() ?? false }, () => {
  let daemon: TestContainerd;
  let registry: TestRegistry;
  let channel: CriChannel;
  const signal = AbortSignal.timeout(60_000);

  before(async () => {
    daemon = await startTestContainerd();
    registry = await startTestRegistry();
    const hosts = join(daemon.directory, 'registry', registry.host);
    await mkdir(hosts, { recursive: true });
    await writeFile(join(hosts, 'hosts.toml'), `server = "http://${registry.host}"\n`);
    channel = openCriChannel(daemon.endpoint);
  });
  after(async () => {
    channel?.close();
    await registry?.[Symbol.asyncDispose]();
    await daemon?.[Symbol.asyncDispose]();
  });

  it('are told while a layer is on its way, and are gone when it is there', async () => {
    const { progress, close } = createPullProgress(daemon.endpoint);
    assert.equal(await progress(signal), undefined);
    const held = Promise.withResolvers<void>();
    registry.rules.set('slow', { held: held.promise });
    const images = createGrpcImageService(channel, 60_000);
    const pulled = images.pullImage({ image: `${registry.host}/slow:1` }, undefined, {}, signal);
    // containerd writes a megabyte at a time, which is more than half of this image's layer.
    const layer = await eventually('the layer', async () => {
      const bytes = await progress(signal);
      return bytes?.total !== undefined && bytes.total > 10_000 ? bytes : undefined;
    });
    assert.ok(layer.done < (layer.total ?? 0), JSON.stringify(layer));
    held.resolve();
    await pulled;
    assert.equal(await progress(signal), undefined);
    close();
  });

  it('are not known of a runtime that is not there', async () => {
    const { progress, close } = createPullProgress('unix:///nowhere/containerd.sock');
    assert.equal(await progress(signal), undefined);
    close();
  });
});

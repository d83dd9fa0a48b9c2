import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Registry } from 'prom-client';
import { createCertificateMetrics } from '../../../agent/certificate/certificate-metrics.ts';
import { createFakeClock } from '../../support/fake-clock.ts';

describe('metrics of certificates', () => {
  it('tell how long each still lives, its age when it was replaced, and failures', async () => {
    const registry = new Registry();
    const clock = createFakeClock();
    const { client, server } = createCertificateMetrics(registry, clock);
    const pair = { notBeforeMs: clock.now() - 1000, notAfterMs: clock.now() + 60_000 };
    client.changed(pair);
    client.failed();
    server.replaced(90);
    const before = await registry.metrics();
    assert.match(before, /^kubelet_certificate_manager_client_ttl_seconds 60$/m);
    assert.match(before, /^kubelet_certificate_manager_server_ttl_seconds \+Inf$/m);
    assert.match(before, /^kubelet_certificate_manager_client_expiration_renew_errors 1$/m);
    assert.match(before, /^kubelet_server_expiration_renew_errors 0$/m);
    assert.match(before, /^kubelet_certificate_manager_server_rotation_seconds_bucket\{le="3600"\} 1$/m);
    await clock.advance(70_000);
    assert.match(await registry.metrics(), /^kubelet_certificate_manager_client_ttl_seconds -10$/m);
  });
});

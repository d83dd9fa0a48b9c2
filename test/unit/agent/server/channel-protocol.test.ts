import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  type ChannelProtocol,
  decodeMessage,
  encodeMessage,
  selectChannelProtocol,
} from '../../../../agent/server/websocket/channel-protocol.ts';
import { tunnelledProtocols } from '../../../../agent/server/websocket/serve-port-forward-tunnel.ts';

function protocol(name: string): ChannelProtocol {
  const found = selectChannelProtocol([name]);
  assert.ok(found !== undefined);
  return found;
}

describe('channel protocols', () => {
  it('takes the first subprotocol it knows, the oldest where none is offered', () => {
    assert.equal(selectChannelProtocol(['v9.channel.k8s.io', 'v4.channel.k8s.io'])?.name, 'v4.channel.k8s.io');
    assert.equal(selectChannelProtocol([])?.statusObject, false);
    assert.equal(selectChannelProtocol(['v9.channel.k8s.io']), undefined);
  });

  it('reads data and the end of a channel', () => {
    const five = protocol('v5.channel.k8s.io');
    assert.deepEqual(decodeMessage(five, Buffer.from([0, 104, 105])), {
      type: 'data',
      channel: 0,
      data: Buffer.from('hi'),
    });
    assert.deepEqual(decodeMessage(five, Buffer.from([255, 0])), { type: 'close', channel: 0 });
    assert.equal(decodeMessage(five, Buffer.from([255])), undefined);
    assert.equal(decodeMessage(five, Buffer.alloc(0)), undefined);
    assert.equal(decodeMessage(protocol('v4.channel.k8s.io'), Buffer.from([255, 0]))?.type, 'data');
  });

  it('reads and writes base64', () => {
    const base64 = protocol('v4.base64.channel.k8s.io');
    assert.equal(encodeMessage(base64, 1, Buffer.from('hi')), '1aGk=');
    assert.deepEqual(decodeMessage(base64, Buffer.from('0aGk=')), {
      type: 'data',
      channel: 0,
      data: Buffer.from('hi'),
    });
  });

  it('finds the protocols inside of a tunnel', () => {
    assert.deepEqual(tunnelledProtocols(['SPDY/3.1+portforward.k8s.io', 'v4.channel.k8s.io']), ['portforward.k8s.io']);
  });
});

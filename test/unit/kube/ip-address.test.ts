// Addresses and networks of both families.
import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  addressToNumber,
  canonicalAddress,
  formatNetwork,
  networkContains,
  numberToAddress,
  parseNetwork,
} from '../../../kube/api/ip-address.ts';

describe('IP addresses', () => {
  const table: [string, bigint | undefined, string][] = [
    ['10.96.0.1', 0x0a600001n, '10.96.0.1'],
    ['255.255.255.255', 0xffffffffn, '255.255.255.255'],
    ['::', 0n, '::'],
    ['::1', 1n, '::1'],
    ['2001:DB8::', 0x20010db8n << 96n, '2001:db8::'],
    ['2001:db8:0:0:1:0:0:1', (0x20010db8n << 96n) + (1n << 48n) + 1n, '2001:db8::1:0:0:1'],
    ['fd00::ffff', (0xfd00n << 112n) + 0xffffn, 'fd00::ffff'],
    ['::ffff:1.2.3.4', 0xffff01020304n, '::ffff:102:304'],
    ['fe80::1%eth0', undefined, 'fe80::1%eth0'],
    ['01.2.3.4', undefined, '01.2.3.4'],
    ['1.2.3', undefined, '1.2.3'],
    ['nonsense', undefined, 'nonsense'],
  ];
  for (const [text, value, canonical] of table) {
    it(`reads and writes ${text}`, () => {
      assert.equal(addressToNumber(text), value);
      assert.equal(canonicalAddress(text), canonical);
      if (value !== undefined) assert.equal(numberToAddress(value, text.includes(':') ? 6 : 4), canonical);
    });
  }
});

describe('networks', () => {
  const network = (cidr: string) => {
    const parsed = parseNetwork(cidr);
    assert.ok(parsed, cidr);
    return parsed;
  };

  it('are written without the bits of hosts', () => {
    assert.equal(formatNetwork(network('10.96.5.7/16')), '10.96.0.0/16');
    assert.equal(formatNetwork(network('2001:DB8::5/64')), '2001:db8::/64');
    assert.equal(formatNetwork(network('1.2.3.4/0')), '0.0.0.0/0');
  });

  it('are nothing else', () => {
    for (const text of ['', '10.0.0.0', '10.0.0.0/33', 'fd00::/129', '10.0.0.0/8/8', '10.0.0.0/-1', 'x/8', '/8']) {
      assert.equal(parseNetwork(text), undefined, text);
    }
  });

  it('contain smaller ones of their family', () => {
    assert.ok(networkContains(network('10.0.0.0/8'), network('10.1.0.0/16')));
    assert.ok(networkContains(network('0.0.0.0/0'), network('10.1.0.0/16')));
    assert.ok(!networkContains(network('10.1.0.0/16'), network('10.0.0.0/8')));
    assert.ok(!networkContains(network('10.1.0.0/16'), network('10.2.0.0/24')));
    assert.ok(!networkContains(network('0.0.0.0/0'), network('fd00::/8')));
  });
});

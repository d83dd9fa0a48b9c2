// Services that change while they are used, in the modes that the machine's own kernel has.
import { describe } from 'node:test';
import { namespacesUnavailable } from '../../support/network-namespace.ts';
import { defineChangesTests } from '../../support/proxy-changes-suite.ts';
import { defineLifeTests } from '../../support/proxy-life-suite.ts';

const skip = namespacesUnavailable() ?? false;

describe('services', { skip }, () => {
  for (const mode of ['iptables', 'nftables'] as const) {
    defineLifeTests(mode, { perSecond: 200 });
    defineChangesTests(mode, { changes: 500, perSync: 10 });
  }
});

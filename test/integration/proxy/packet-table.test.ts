// The table of the data path in the modes that the machine's own kernel has.
import { describe } from 'node:test';
import { defineDataPathTests } from '../../support/data-path-suite.ts';
import { namespacesUnavailable } from '../../support/network-namespace.ts';

const skip = namespacesUnavailable() ?? false;

describe('the data path', { skip }, () => {
  for (const mode of ['iptables', 'nftables'] as const) defineDataPathTests(mode);
});

// Mode ipvs with real packets, in a kernel that has it.
import { defineDataPathTests } from '../../support/data-path-suite.ts';
import { defineLifeTests } from '../../support/proxy-life-suite.ts';
import { describeInUml } from '../../support/uml-tests.ts';

describeInUml('packets in mode ipvs, in user-mode Linux', import.meta.filename, 480_000, () => {
  defineDataPathTests('ipvs');
  defineLifeTests('ipvs', { perSecond: 25, changes: 500, perSync: 25 });
});

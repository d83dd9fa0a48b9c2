// Services in mode ipvs that change while they are used, in a kernel that has it.
import { defineLifeTests } from '../../support/proxy-life-suite.ts';
import { describeInUml } from '../../support/uml-tests.ts';

describeInUml('services in mode ipvs, in user-mode Linux', import.meta.filename, 480_000, () => {
  defineLifeTests('ipvs', { perSecond: 25 });
});

// Where packets go in mode ipvs, in a kernel that has it.
import { defineDataPathTests } from '../../support/data-path-suite.ts';
import { describeInUml } from '../../support/uml-tests.ts';

describeInUml('packets in mode ipvs, in user-mode Linux', import.meta.filename, 480_000, () => {
  defineDataPathTests('ipvs');
});

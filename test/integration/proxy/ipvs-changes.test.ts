// Random changes in mode ipvs, in a kernel that has it.
import { defineChangesTests } from '../../support/proxy-changes-suite.ts';
import { describeInUml } from '../../support/uml-tests.ts';

describeInUml('changes in mode ipvs, in user-mode Linux', import.meta.filename, 480_000, () => {
  defineChangesTests('ipvs', { changes: 500, perSync: 25 });
});

// What the conditions of webhooks may name.
import { declare } from '../../cel/compile-expression.ts';

export const conditionNames = declare({ object: 'dyn', oldObject: 'dyn', request: 'dyn', authorizer: 'dyn' });

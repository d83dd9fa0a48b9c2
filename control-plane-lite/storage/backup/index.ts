// What the berth command does with stores.
export { backUp, restore } from './back-up.ts';
export { migrateStore } from './migrate-store.ts';

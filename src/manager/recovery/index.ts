export { Orphans } from './orphans.ts';
export { Recovery } from './recovery.ts';

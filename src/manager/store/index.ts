export { recordFormat, type RecordLayout } from './record-format.ts';
export { jsonFormat, RecordTable, type RecordFormat } from './record-table.ts';
export { Store } from './store.ts';

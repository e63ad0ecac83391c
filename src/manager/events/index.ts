// What has happened, numbered and kept, for those who were away.
export { EventJournal, type SubscribeOptions } from './journal.ts';
export { aboutTasks, containerOf, type EventOrigin, type JournalEvent, type NewEvent } from './journal-event.ts';

import type { ServiceHandlers } from '../../grpc/index.ts';
import { type berth, toTimestamp } from '../../wire/index.ts';
import type { JournalView } from './views.ts';

/** berth.v1.Events: the journal, from any number on. */
export function berthEventsService(journal: JournalView): ServiceHandlers<typeof berth.Events> {
  return {
    async *Subscribe({ afterSequence, noFollow }, { signal }) {
      for await (const event of journal.subscribe({ after: afterSequence, signal, follow: !noFollow })) {
        const { at, ...rest } = event;
        yield { ...rest, timestamp: toTimestamp(at) };
      }
    },
  };
}

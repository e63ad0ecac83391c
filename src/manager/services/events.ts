import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import {
  type eventService,
  fromTimestamp,
  type Init,
  type protobuf,
  toTimestamp,
  type types,
  nowNanoseconds,
} from '../../wire/index.ts';
import { containerOf, type JournalEvent } from '../events/index.ts';
import { type FieldOf, parseFilters } from './filter.ts';
import { messageField } from './message-field.ts';
import { isIdentifier, namespaceOfCall } from './namespace.ts';
import type { JournalView } from './views.ts';

/**
 * containerd.services.events.v1: what happens from now on, in all namespaces, as far as the filters let it through. What others publish
 * here is kept in the journal as well.
 */
export function eventsService(journal: JournalView): ServiceHandlers<typeof eventService.Events> {
  return {
    async *Subscribe({ filters }, { signal }) {
      const fits = parseFilters(filters);
      for await (const event of journal.subscribe({ signal, follow: true })) {
        if (fits(fieldsOf(event))) yield envelopeOf(event);
      }
    },
    Publish: ({ topic, event }, context) => {
      const at = nowNanoseconds();
      publish(journal, { at, namespace: namespaceOfCall(context), topic, event });
      return {};
    },
    Forward: ({ envelope }) => {
      const at = fromTimestamp(envelope?.timestamp);
      if (envelope === undefined || at === undefined) {
        throw new RpcError(Code.InvalidArgument, 'Forward: an envelope with a timestamp is expected');
      }
      const { namespace, topic, event } = envelope;
      if (!isIdentifier(namespace))
        throw new RpcError(Code.InvalidArgument, `Forward: ${JSON.stringify(namespace)} is no namespace`);
      publish(journal, { at, namespace, topic, event });
      return {};
    },
  };
}

interface Publication {
  at: bigint;
  namespace: string;
  topic: string;
  event: protobuf.Any | undefined;
}

function publish(journal: JournalView, { at, namespace, topic, event }: Publication): void {
  if (!topic.startsWith('/') || !topic.slice(1).split('/').every(isIdentifier)) {
    throw new RpcError(Code.InvalidArgument, `${JSON.stringify(topic)} is no topic: one looks like "/tasks/exit"`);
  }
  if (event === undefined)
    throw new RpcError(Code.InvalidArgument, `nothing was published under ${topic}: the event is missing`);
  journal.append({ at, namespace, topic, event, containerId: containerOf(event), sandboxId: '' });
}

function fieldsOf({ namespace, topic, event }: JournalEvent): FieldOf {
  return ([name, ...rest]) => {
    switch (name) {
      case 'namespace':
        return namespace;
      case 'topic':
        return topic;
      case 'event':
        return rest.length === 0 ? undefined : messageField(event, rest);
      default:
        return undefined;
    }
  };
}

function envelopeOf({ at, namespace, topic, event }: JournalEvent): Init<types.Envelope> {
  return { timestamp: toTimestamp(at), namespace, topic, event };
}

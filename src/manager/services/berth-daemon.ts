import { Code, RpcError, type ServiceHandlers } from '../../grpc/index.ts';
import { type berth, toTimestamp } from '../../wire/index.ts';
import { logLevels } from '../config/index.ts';
import type { DaemonFacts, DaemonView, JournalView } from './views.ts';

/** berth.v1.Daemon: the daemon of itself. */
export function berthDaemonService(
  facts: DaemonFacts,
  daemon: DaemonView,
  journal: JournalView,
): ServiceHandlers<typeof berth.Daemon> {
  return {
    Info: () => {
      const { name, reason } = daemon.defaultRuntime();
      return {
        version: facts.version,
        pid: process.pid,
        startedAt: toTimestamp(facts.startedAt),
        root: facts.root,
        state: facts.state,
        config: facts.config,
        defaultRuntime: name,
        defaultRuntimeReason: reason,
        lastEventSequence: journal.last,
        ...daemon.counts(),
      };
    },
    SetLogLevel: ({ level }) => {
      if (level !== '') {
        const known = logLevels.find((one) => one === level);
        if (known === undefined) {
          throw new RpcError(Code.InvalidArgument, `"${level}" is no log level: it is one of ${logLevels.join(', ')}`);
        }
        daemon.setLogLevel(known);
      }
      return { level: daemon.logLevel() };
    },
  };
}

import { cri } from '../../wire/index.ts';
import type { Context } from '../context.ts';
import { type Daemon, isNoAnswer } from '../daemon.ts';
import { Failure, isSystemError, messageOf, NotFoundError, UsageError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { logLines } from '../logs/log-file.ts';
import { LogPrinter } from '../logs/printer.ts';
import { untilInterrupted } from '../signals.ts';
import { parseMoment } from '../time.ts';
import { defineVerb } from '../verb.ts';

/** How often the server is asked whether the container still runs. */
const askEveryMs = 1000;

export const verb = defineVerb({
  operands: 'CONTAINER-ID',
  takes: 'container',
  count: { least: 1, most: 1 },
  details: `Reads the container's log file: what it wrote to stdout goes to stdout, and to stderr what it wrote there.
With --follow it goes on until the container ends, also while berthd is away and when the file is rotated.
--tail counts lines as the container wrote them, of the newest file.`,
  examples: [
    'berthctl logs --tail 50 1f73f2d81bf98',
    'berthctl logs -f --since 10m web',
    'berthctl logs 1f73 2>/dev/null',
  ],
  options: {
    follow: { type: 'flag', short: 'f', help: 'go on with what comes' },
    tail: { type: 'whole', help: 'only the last N lines (default: all)' },
    since: { type: 'text', value: 'TIME', help: 'only what is newer: 10m, 2026-11-21T13:23:37, seconds since 1970' },
    until: { type: 'text', value: 'TIME', help: 'only what is older' },
    timestamps: { type: 'flag', short: 't', help: 'show the time of each line' },
    'limit-bytes': { type: 'whole', help: 'at most so many bytes' },
    previous: { type: 'flag', short: 'p', help: "the log of the container's attempt before this one" },
    stream: { type: 'text', short: 's', help: 'only stdout, or only stderr' },
    reopen: { type: 'flag', short: 'r', help: 'have the log file opened anew first, after it was renamed' },
  },
  async run({ context, options, operands: [given = ''] }) {
    const { stream, tail, follow } = options;
    if (stream !== undefined && stream !== 'stdout' && stream !== 'stderr') {
      throw new UsageError(`--stream is stdout or stderr, not "${stream}"`);
    }
    if (tail !== undefined && stream !== undefined) throw new UsageError('--tail and --stream do not go together');
    const limit = options['limit-bytes'];
    const printer = new LogPrinter(context, {
      timestamps: options.timestamps,
      since: momentOf(context, '--since', options.since),
      until: momentOf(context, '--until', options.until),
      limitBytes: limit !== undefined && limit >= 0 ? limit : undefined,
      only: stream,
    });
    const daemon = await context.daemon();
    const containerId = await resolveContainer(daemon, given);
    if (options.reopen)
      await daemon.runtime(`cannot reopen the log of ${given}`, 'ReopenContainerLog', { containerId });
    const { status } = await daemon.runtime(`cannot find the log of ${given}`, 'ContainerStatus', { containerId });
    const path = pathOf(status, options.previous);
    await untilInterrupted(async (signal) => {
      const lines = logLines(path, {
        tail: tail !== undefined && tail >= 0 ? tail : undefined,
        follow: follow && !options.previous ? stillRuns(context, daemon, containerId) : undefined,
        signal,
      });
      try {
        for await (const some of lines) if (!(await printer.print(some))) break;
      } catch (error) {
        throw unreadable(path, error);
      }
    });
    return undefined;
  },
});

function momentOf(context: Context, option: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const moment = parseMoment(text, context.now());
  if (moment === undefined)
    throw new UsageError(`${option} needs a time such as 10m or 2026-11-21T13:23:37, not "${text}"`);
  return moment;
}

function pathOf(status: cri.ContainerStatus | undefined, previous: boolean): string {
  const { logPath = '', metadata } = status ?? {};
  if (logPath === '') {
    throw new NotFoundError('the container has no log file', "its pod's configuration names no log_directory");
  }
  if (!previous) return logPath;
  const attempt = metadata?.attempt ?? 0;
  if (attempt === 0)
    throw new NotFoundError(`there was no attempt before this one of ${metadata?.name ?? 'the container'}`);
  return logPath.replace(/[^/]*(\.[^./]*)$/, `${attempt - 1}$1`);
}

function unreadable(path: string, error: unknown): Failure {
  if (isSystemError(error, 'ENOENT')) return new NotFoundError(`cannot read the log: there is no file ${path}`);
  const next = isSystemError(error, 'EACCES') ? 'try again with sudo' : undefined;
  return new Failure(`cannot read the log ${path}: ${messageOf(error)}`, { next, cause: error });
}

/** Asks from time to time. A daemon that is away says nothing of the container. */
export function stillRuns(context: Context, daemon: Daemon, containerId: string): () => Promise<boolean> {
  let asked = 0;
  let runs = true;
  return async () => {
    if (!runs || context.now() - asked < askEveryMs) return runs;
    asked = context.now();
    try {
      const { status } = await daemon.runtime('cannot ask about the container', 'ContainerStatus', { containerId });
      const state = status?.state;
      runs = state === cri.ContainerState.CONTAINER_RUNNING || state === cri.ContainerState.CONTAINER_CREATED;
    } catch (error) {
      if (error instanceof NotFoundError) runs = false;
      else if (!isNoAnswer(error)) throw error;
    }
    return runs;
  };
}

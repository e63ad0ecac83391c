import { type ContainerFilter, containerFilters, listContainers } from '../container-list.ts';
import { ExitCode } from '../exit-codes.ts';
import { Failure, NotFoundError, NotSupportedError, UsageError } from '../failure.ts';
import { resolveContainer } from '../identity.ts';
import { defineVerb } from '../verb.ts';

/** What the server may need besides the command's own time. */
const overheadMs = 30_000;

export const verb = defineVerb({
  operands: '[CONTAINER-ID] COMMAND [ARG...]',
  takes: 'container',
  count: { least: 1, most: Infinity },
  stopAtOperand: true,
  details: `Runs a command in a container and shows what it has written when it has ended: that is -s, and all there is in this version.
Exits with the exit code of the command, or with 125 when it could not be run.
Without a container's id, in all containers that the options pick.`,
  examples: [
    'berthctl exec -s 1f73f2d81bf98 ls -l /',
    'berthctl exec -s --timeout 5 --name ^web$ cat /etc/resolv.conf',
  ],
  options: {
    sync: { type: 'flag', short: 's', help: 'wait for the end, then show the output' },
    timeout: { type: 'duration', help: 'kill the command after so long (default: never)' },
    tty: { type: 'flag', short: 't', help: 'not in this version: a terminal' },
    interactive: { type: 'flag', short: 'i', help: 'not in this version: pass stdin on' },
    ...containerFilters,
    quiet: { type: 'flag', short: 'q', help: 'do not show which container the output is of' },
    'ignore-errors': { type: 'flag', short: 'e', help: 'exit with 0 whatever the command does' },
  },
  async run({ context, options, given, operands }) {
    if (!options.sync || options.tty || options.interactive) {
      throw new NotSupportedError(
        'exec without -s is not in this version: it cannot stream',
        'berthctl exec -s ID COMMAND',
      );
    }
    const filtered = Object.keys(containerFilters).some((name) => given.has(name));
    if (!filtered && operands.length < 2) throw new UsageError('which command?', 'berthctl exec -s ID COMMAND');
    const cmd = filtered ? operands : operands.slice(1);
    const daemon = await context.daemon();
    const ids = filtered
      ? (await listContainers(daemon, options as ContainerFilter)).map(({ id }) => id)
      : [await resolveContainer(daemon, operands[0] ?? '')];
    if (ids.length === 0) throw new NotFoundError('no container is like that', 'berthctl ps lists them');
    let exitCode: number = ExitCode.Success;
    for (const containerId of ids) {
      if (filtered && !options.quiet) context.stdout.write(`${containerId}:\n`);
      const timeoutMs = options.timeout ?? 0;
      const request = { containerId, cmd, timeout: BigInt(Math.ceil(timeoutMs / 1000)) };
      const limits = { deadline: timeoutMs > 0 ? timeoutMs + overheadMs : ('none' as const) };
      try {
        const answer = await daemon.runtime(
          `cannot run ${cmd[0] ?? ''} in ${containerId}`,
          'ExecSync',
          request,
          limits,
        );
        context.stdout.write(answer.stdout);
        context.stderr.write(answer.stderr);
        if (answer.exitCode !== 0) exitCode = answer.exitCode;
      } catch (error) {
        if (!(error instanceof Failure)) throw error;
        const next = error.next;
        if (!options['ignore-errors'])
          throw new Failure(error.message, { exitCode: ExitCode.RunFailed, next, cause: error });
        context.say(`berthctl: ${error.message}`);
      }
    }
    return options['ignore-errors'] ? ExitCode.Success : exitCode;
  },
});

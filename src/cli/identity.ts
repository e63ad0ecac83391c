import type { Daemon } from './daemon.ts';
import { Failure, NotFoundError, UsageError } from './failure.ts';
import { shortId } from './output/table.ts';

interface Named {
  readonly id: string;
  readonly metadata: { readonly name: string } | undefined;
}

const wholeId = /^[0-9a-f]{64}$/;

/**
 * The whole id of a container that is given by its id, the beginning of it, or its name; all as long as it is the only one.
 * @throws {NotFoundError}
 * @throws {Failure} when there are several
 */
export async function resolveContainer(daemon: Daemon, text: string): Promise<string> {
  if (text === '') throw new UsageError('a container id cannot be empty');
  if (wholeId.test(text)) return text;
  const { containers } = await daemon.runtime('cannot list containers', 'ListContainers', {});
  return pick('container', text, containers, 'berthctl ps -a');
}

/** The same for a pod. */
export async function resolvePod(daemon: Daemon, text: string): Promise<string> {
  if (text === '') throw new UsageError('a pod id cannot be empty');
  if (wholeId.test(text)) return text;
  const { items } = await daemon.runtime('cannot list pods', 'ListPodSandbox', {});
  return pick('pod', text, items, 'berthctl pods');
}

function pick(kind: string, text: string, things: readonly Named[], list: string): string {
  const exact = things.find(({ id }) => id === text);
  if (exact !== undefined) return exact.id;
  const begin = things.filter(({ id }) => id.startsWith(text));
  const found = begin.length > 0 ? begin : things.filter(({ metadata }) => metadata?.name === text);
  const [only, other] = found;
  if (only === undefined) {
    throw new NotFoundError(
      `there is no ${kind} whose id begins with "${text}", nor one of that name`,
      `${list} lists them`,
    );
  }
  if (other === undefined) return only.id;
  const shown = found.slice(0, 5).map(({ id, metadata }) => `${shortId(id)} (${metadata?.name ?? ''})`);
  throw new Failure(`"${text}" can be any of ${found.length} ${kind}s: ${shown.join(', ')}`, {
    next: `write more of the id; ${list} lists them`,
  });
}

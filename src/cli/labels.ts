import { UsageError } from './failure.ts';

/** "key=value" texts as a map. @throws {UsageError} */
export function parsePairs(option: string, texts: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (const text of texts) {
    const at = text.indexOf('=');
    if (at <= 0) throw new UsageError(`${option} needs key=value, not "${text}"`);
    pairs[text.slice(0, at)] = text.slice(at + 1);
  }
  return pairs;
}

/** The labels by which a kubelet, and `berthctl run`, tell whose a container is. */
export const label = {
  podName: 'io.kubernetes.pod.name',
  podNamespace: 'io.kubernetes.pod.namespace',
  podUid: 'io.kubernetes.pod.uid',
  containerName: 'io.kubernetes.container.name',
} as const;

/** @throws {UsageError} when that is no regular expression */
export function pattern(option: string, text: string | undefined): RegExp | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    return new RegExp(text);
  } catch {
    throw new UsageError(`${option} is no regular expression: "${text}"`);
  }
}

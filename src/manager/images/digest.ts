import { createHash } from 'node:crypto';

const pattern = /^sha256:[a-f0-9]{64}$/;

/** Whether a text is a digest of the one kind that is in use: "sha256:" and 64 lower-case hex digits. */
export function isDigest(text: unknown): text is string {
  return typeof text === 'string' && pattern.test(text);
}

/** The 64 hex digits. */
export function hexOf(digest: string): string {
  return digest.slice('sha256:'.length);
}

export function digestOf(content: Buffer | string): string {
  return `sha256:${createHash('sha256').update(content).digest('hex')}`;
}

/** What a stack of layers is called (OCI image specification, "ChainID"), for each height, bottom first. */
export function chainIds(diffIds: readonly string[]): string[] {
  const chain: string[] = [];
  for (const diffId of diffIds) {
    const below = chain.at(-1);
    chain.push(below === undefined ? diffId : digestOf(`${below} ${diffId}`));
  }
  return chain;
}

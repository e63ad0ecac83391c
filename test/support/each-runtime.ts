import { describe } from 'node:test';
import { type OciRuntime, ociRuntimes } from './paths.ts';

/** Defines the same tests for each OCI runtime. */
export function withEachRuntime(what: string, define: (runtime: OciRuntime) => void): void {
  for (const runtime of Object.keys(ociRuntimes) as OciRuntime[]) {
    describe(`${what}, ${runtime}`, () => define(runtime));
  }
}

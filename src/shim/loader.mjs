// What the launcher gives to the JavaScript host: runs the bundle with the compiled code that the build has kept of it
// (scripts/warm-up.mjs), which saves a fifth of the start. A host that does not take that code compiles anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { Script } from 'node:vm';

const bundle = `${import.meta.dirname}/shim.cjs`;
const newCache = process.env.BERTH_WRITE_CODE_CACHE;

function keptCode() {
  try {
    return readFileSync(`${import.meta.dirname}/shim.cache`);
  } catch {
    return undefined;
  }
}

const source = `(function (require, __filename) {${readFileSync(bundle, 'utf8')}\n})`;
const script = new Script(source, { filename: bundle, cachedData: newCache ? undefined : keptCode() });
if (newCache) process.on('exit', () => writeFileSync(newCache, script.createCachedData()));
script.runInThisContext()(createRequire(import.meta.url), bundle);

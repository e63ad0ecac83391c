// What a launcher gives to the JavaScript host, under the name of the bundle beside it (shim.mjs runs shim.cjs): runs the bundle with the
// compiled code that the build has kept of it (scripts/warm-up.mjs), which saves a fifth of the start. A host that does not take that code
// compiles anew.
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { basename } from 'node:path';
import { Script } from 'node:vm';

const name = basename(import.meta.filename, '.mjs');
const bundle = `${import.meta.dirname}/${name}.cjs`;
const newCache = process.env.BERTH_WRITE_CODE_CACHE;
// One of our programs may start another, which inherits the variable.
const writesCache = newCache !== undefined && basename(newCache) === `${name}.cache`;

function keptCode() {
  try {
    return readFileSync(`${import.meta.dirname}/${name}.cache`);
  } catch {
    return undefined;
  }
}

const source = `(function (require, __filename, __dirname) {${readFileSync(bundle, 'utf8')}\n})`;
const script = new Script(source, { filename: bundle, cachedData: writesCache ? undefined : keptCode() });
if (writesCache) process.on('exit', () => writeFileSync(newCache, script.createCachedData()));
script.runInThisContext()(createRequire(import.meta.url), bundle, import.meta.dirname);

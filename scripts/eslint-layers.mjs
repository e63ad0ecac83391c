/**
 * A lint rule: arrows point down only. A layer is a folder of src/; it may import those listed for it here, and of them
 * only the front door (`index.ts`). The shim and the manager are in neither's list: they meet on the wire.
 */
import { dirname, relative, resolve, sep } from 'node:path';

const sources = resolve(import.meta.dirname, '../src');

const mayImport = {
  linux: [],
  wire: [],
  ttrpc: ['wire'],
  grpc: ['wire'],
  oci: ['linux'],
  shim: ['oci', 'ttrpc', 'wire', 'linux'],
  manager: ['oci', 'grpc', 'ttrpc', 'wire', 'linux'],
  cli: ['grpc', 'wire'],
};

/** `{ layer, file }` of a path below src, or undefined for any other. */
function place(path) {
  const [layer, ...rest] = relative(sources, path).split(sep);
  return layer === '..' || rest.length === 0 ? undefined : { layer, file: rest.join('/') };
}

const arrows = {
  meta: {
    type: 'problem',
    docs: { description: 'src/ layers import only what is below them, by its index.ts' },
    schema: [],
    messages: {
      unknown: 'src/{{layer}} is not in the list of layers (scripts/eslint-layers.mjs)',
      upward: 'src/{{from}} must not import src/{{to}}: it may import {{allowed}}',
      inner: "import src/{{to}}/index.ts: '{{file}}' is private to src/{{to}}",
    },
  },
  create(context) {
    const from = place(context.filename);
    if (from === undefined) return {};
    const allowed = mayImport[from.layer];

    function check(source) {
      if (typeof source?.value !== 'string' || !source.value.startsWith('.')) return;
      const to = place(resolve(dirname(context.filename), source.value));
      if (to === undefined || to.layer === from.layer) return;
      if (allowed === undefined) {
        context.report({ node: source, messageId: 'unknown', data: { layer: from.layer } });
      } else if (!allowed.includes(to.layer)) {
        const names = allowed.join(', ') || 'no other layer';
        context.report({ node: source, messageId: 'upward', data: { from: from.layer, to: to.layer, allowed: names } });
      } else if (to.file !== 'index.ts') {
        context.report({ node: source, messageId: 'inner', data: { to: to.layer, file: to.file } });
      }
    }
    return {
      ImportDeclaration: ({ source }) => check(source),
      ExportAllDeclaration: ({ source }) => check(source),
      ExportNamedDeclaration: ({ source }) => check(source),
      ImportExpression: ({ source }) => check(source),
    };
  },
};

export default { rules: { arrows } };

import tseslint from 'typescript-eslint';
import layers from './scripts/eslint-layers.mjs';

/** What is true of all code, typed or not. */
const everywhere = {
  eqeqeq: 'error',
  'no-var': 'error',
  'prefer-const': 'error',
  'object-shorthand': 'error',
  'no-else-return': 'error',
  'no-useless-rename': 'error',
  'no-unneeded-ternary': 'error',
};

const environment = {
  selector: "MemberExpression[object.name='process'][property.name='env']",
  message: 'The environment is read in main.ts and in the configuration only; take what you need as an argument.',
};

export default tseslint.config(
  { ignores: ['dist/', 'build/', 'node_modules/', 'src/wire/generated/'] },
  { linterOptions: { reportUnusedDisableDirectives: 'error' }, rules: everywhere },
  {
    files: ['src/**/*.ts', 'test/**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true, tsconfigRootDir: import.meta.dirname } },
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [
            { from: 'package', package: 'node:test', name: ['test', 'it', 'describe', 'suite'] },
          ],
        },
      ],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }],
      '@typescript-eslint/consistent-type-imports': 'error',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true, allowBoolean: true }],
      '@typescript-eslint/no-confusing-void-expression': ['error', { ignoreArrowShorthand: true }],
      // `x as T` is this project's way to say what `!` would; the rule asks for `!`, which another rule forbids.
      '@typescript-eslint/non-nullable-type-assertion-style': 'off',
      // What may be absent in a record is asked for by its key, so that it does not look like a property.
      '@typescript-eslint/dot-notation': 'off',
      // A class that is only told from others by its type is how errors are written here.
      '@typescript-eslint/no-extraneous-class': 'off',
    },
  },
  {
    files: ['src/**/*.ts'],
    plugins: { layers },
    rules: { 'layers/arrows': 'error', 'no-console': 'error' },
  },
  {
    files: ['src/**/*.ts'],
    ignores: ['src/*/main.ts', 'src/**/config.ts', 'src/**/config/*.ts'],
    rules: { 'no-restricted-syntax': ['error', environment] },
  },
  {
    // One reaper collects all children of the shim; a second one would steal exit codes.
    files: ['src/{linux,oci,ttrpc,shim}/**/*.ts'],
    rules: {
      'no-restricted-imports': ['error', { paths: ['child_process', 'node:child_process', 'cluster', 'node:cluster'] }],
    },
  },
  {
    files: ['**/*.js', '**/*.mjs'],
    languageOptions: {
      globals: Object.fromEntries(
        [
          'process',
          'console',
          'Buffer',
          'URL',
          'AbortSignal',
          'AbortController',
          'setTimeout',
          'clearTimeout',
          'performance',
          'fetch',
        ].map((name) => [name, 'readonly']),
      ),
    },
    rules: {
      'no-undef': 'error',
      'no-unused-vars': 'error',
      'no-unreachable': 'error',
      'no-dupe-keys': 'error',
      'no-fallthrough': 'error',
      'no-empty': 'error',
      'no-constant-condition': 'error',
      'no-unsafe-finally': 'error',
      'require-atomic-updates': 'error',
    },
  },
);

/** The configuration cannot be used; the message has a line for each thing that is wrong, with the place and what is expected. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';

  constructor(problems: readonly string[], options?: ErrorOptions) {
    super(problems.join('\n'), options);
  }
}

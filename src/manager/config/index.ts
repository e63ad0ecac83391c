// What berthd is told: by its file, its flags and its defaults.
export type { Config, RuntimeConfig } from './config.ts';
export { ConfigError } from './errors.ts';
export { checkConfigFile, type ConfigFlags, defaultConfigFile, loadConfig, type LoadOptions } from './load.ts';
export { configToml, defaultToml } from './render.ts';
export { logLevels } from './settings.ts';

import type { Config, RuntimeConfig } from './config.ts';
import { runtimeSettings, type Setting, type SettingKey, settings, type Values } from './settings.ts';

const introduction = `# The configuration of berthd: /etc/berth/config.toml, or what --config names. Every key may be left out; what stands behind "#"
# is its default. Unknown keys are refused. "berthd config check" tells what is wrong, "berthd config dump" what is in force.
`;

const runtimesText = `# Runtimes by name, as RuntimeClass handlers name them. Without any, crun and runc are taken as they are found.
`;

/** The commented file that says what there is to configure. It changes nothing when it is used as it is. */
export function defaultToml(): string {
  let text = introduction;
  let current = '';
  for (const [key, setting] of Object.entries(settings) as [SettingKey, Setting<unknown>][]) {
    const { section, name } = split(key);
    if (section !== current) text += `\n[${section}]\n`;
    current = section;
    text += `\n${comments(setting.about)}# ${name} = ${tomlValue(setting.shown ?? setting.fallback)}\n`;
  }
  text += `\n${runtimesText}# [runtimes.crun]\n`;
  for (const [name, setting] of Object.entries(runtimeSettings)) {
    const example = name === 'binary' ? 'crun' : setting.fallback;
    text += `#\n${comments(setting.about)}# ${name} = ${tomlValue(example)}\n`;
  }
  return text;
}

/** A configuration as a file that says the same. */
export function configToml(config: Config): string {
  let text = '';
  let current = '';
  for (const [key, value] of Object.entries(valuesOf(config))) {
    const { section, name } = split(key);
    if (section !== current) text += `\n[${section}]\n`;
    current = section;
    text += `${name} = ${tomlValue(value)}\n`;
  }
  for (const [name, handler] of Object.entries(config.runtimes.handlers)) {
    // A dot in a bare name would be a table in a table.
    text += `\n[runtimes.${name.includes('.') ? JSON.stringify(name) : name}]\n`;
    for (const key of Object.keys(runtimeSettings) as (keyof RuntimeConfig)[]) {
      if (handler[key] !== '') text += `${key} = ${tomlValue(handler[key])}\n`;
    }
  }
  return text;
}

function valuesOf(config: Config): Values {
  return {
    root: config.root,
    state: config.state,
    socket: config.socket,
    'log.level': config.log.level,
    'runtimes.default': config.runtimes.default,
    'shims.pool_size': config.shimPoolSize,
    'network.conf_dir': config.network.confDir,
    'network.bin_dirs': config.network.binDirs,
    'network.conf_template': config.network.confTemplate,
    'network.max_conf_num': config.network.maxConfNum,
    'images.registries_conf': config.images.registriesConf,
    'images.policy': config.images.policy,
    'images.auth_file': config.images.authFile,
    'images.unpack_concurrency': config.images.unpackConcurrency,
    'images.pull_progress_timeout_seconds': config.images.pullProgressTimeoutSeconds,
    'cgroups.driver': config.cgroups.driver,
    'security.seccomp_profile': config.security.seccompProfile,
    'limits.exec_sync_output_bytes': config.limits.execSyncOutputBytes,
    'limits.events_kept': config.limits.eventsKept,
    'limits.shutdown_seconds': config.limits.shutdownSeconds,
  };
}

function split(key: string): { section: string; name: string } {
  const dot = key.indexOf('.');
  return { section: key.slice(0, Math.max(0, dot)), name: key.slice(dot + 1) };
}

function comments(about: readonly string[]): string {
  return about.map((line) => `# ${line}\n`).join('');
}

/** Strings as JSON writes them are strings of TOML too, but for DEL. */
function tomlValue(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(tomlValue).join(', ')}]`;
  return JSON.stringify(value).replaceAll('\x7f', '\\u007f');
}

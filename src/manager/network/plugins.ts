import { setTimeout as sleep } from 'node:timers/promises';
import type { Logger } from 'pino';
import { Code } from '../../grpc/index.ts';
import { isSystemError } from '../../linux/index.ts';
import { type NetworkConf, type PluginConf, isJsonObject } from './network-conf.ts';
import type { PluginBinaries } from './plugin-binaries.ts';
import { type Command, PluginError, oneLine, statusForPluginCode } from './plugin-error.ts';
import type { ProgramOutcome, Programs } from './program.ts';

export interface PluginCall {
  readonly command: Command;
  readonly network: Pick<NetworkConf, 'name' | 'file'>;
  readonly plugin: PluginConf;
  /** What it reads as JSON. */
  readonly input: object;
  /** CNI_* but COMMAND and PATH, without the prefix. */
  readonly variables: Readonly<Record<string, string>>;
  readonly deadlineMilliseconds: number;
  readonly signal?: AbortSignal | undefined;
}

const maxResultBytes = 1024 * 1024;
/** A program that is being replaced cannot be run for a moment. */
const busyRetries = 20;
const busyMilliseconds = 50;
const maxShownBytes = 512;

/** Calls one plugin as the CNI specification says. */
export class Plugins {
  readonly #binaries: PluginBinaries;
  readonly #programs: Programs;
  readonly #environment: readonly string[];
  readonly #log: Logger;

  /** @param environment `NAME=value`, besides the CNI variables: PATH at least, since plugins run iptables and the like */
  constructor(binaries: PluginBinaries, programs: Programs, environment: readonly string[], log: Logger) {
    this.#binaries = binaries;
    this.#programs = programs;
    this.#environment = environment;
    this.#log = log;
  }

  /**
   * Gives what it printed.
   * @throws {PluginError} DEADLINE_EXCEEDED, CANCELLED, UNAVAILABLE when it asks to try again, FAILED_PRECONDITION when its program
   * is not there, else INTERNAL
   */
  async call(call: PluginCall): Promise<string> {
    const began = performance.now();
    const outcome = await this.#run(call);
    const { command, network, plugin } = call;
    const about = { command, plugin: plugin.type, network: network.name, milliseconds: performance.now() - began };
    const failed = outcome.killedFor !== undefined || outcome.exitCode !== 0;
    const said = oneLine(outcome.stderr);
    if (said !== '')
      this.#log[failed ? 'warn' : 'info']({ ...about, stderr: said }, 'a CNI plugin wrote to its stderr');
    this.#log.debug({ ...about, exitCode: outcome.exitCode }, 'CNI plugin called');
    if (failed) throw this.#failure(call, outcome);
    return outcome.stdout;
  }

  /** The error for a call whose plugin's answer is not what it must be. */
  error(call: Pick<PluginCall, 'command' | 'network' | 'plugin'>, text: string): PluginError {
    return new PluginError(Code.Internal, { ...call, type: call.plugin.type, text });
  }

  async #run(call: PluginCall): Promise<ProgramOutcome> {
    const { type } = call.plugin;
    let searchedAgain = false;
    for (let tries = 0; ; tries++) {
      const file = await this.#binaries.find(type);
      if (file === undefined) {
        const text = `there is no such program in ${this.#binaries.searchPath}: install it, or change "type" in the file`;
        throw new PluginError(Code.FailedPrecondition, { ...call, type, text, missing: true });
      }
      try {
        return await this.#programs.run({
          file,
          environment: this.#environmentOf(call),
          input: JSON.stringify(call.input),
          deadlineMilliseconds: call.deadlineMilliseconds,
          maxOutputBytes: maxResultBytes,
          signal: call.signal,
        });
      } catch (error) {
        if (isSystemError(error, 'ETXTBSY') && tries < busyRetries) {
          await sleep(busyMilliseconds);
          continue;
        }
        if (isSystemError(error, 'ENOENT', 'EACCES', 'ENOTDIR') && !searchedAgain) {
          searchedAgain = true;
          this.#binaries.forget(type);
          continue;
        }
        throw new PluginError(Code.Internal, { ...call, type, text: `${file} cannot be run: ${String(error)}` });
      }
    }
  }

  #environmentOf({ command, variables }: PluginCall): string[] {
    return [
      ...this.#environment,
      `CNI_COMMAND=${command}`,
      `CNI_PATH=${this.#binaries.searchPath}`,
      ...Object.entries(variables).map(([name, value]) => `CNI_${name}=${value}`),
    ];
  }

  #failure(call: PluginCall, outcome: ProgramOutcome): PluginError {
    const { type } = call.plugin;
    const details = { ...call, type };
    switch (outcome.killedFor) {
      case 'deadline': {
        const text = `not finished after ${call.deadlineMilliseconds / 1000} s: it was killed`;
        return new PluginError(Code.DeadlineExceeded, { ...details, text });
      }
      case 'abort':
        return new PluginError(Code.Cancelled, { ...details, text: 'the call was cancelled: it was killed' });
      case 'output':
        return new PluginError(Code.Internal, { ...details, text: `it printed more than ${maxResultBytes} bytes` });
      case undefined:
        break;
    }
    const own = ownError(outcome.stdout);
    if (own !== undefined) {
      const text = own.details === '' ? own.msg : `${own.msg}: ${own.details}`;
      return new PluginError(statusForPluginCode(own.code), { ...details, text, pluginCode: own.code });
    }
    const printed = (outcome.stdout.trim() || outcome.stderr.trim()).slice(0, maxShownBytes);
    const shown = printed === '' ? 'and said nothing' : `and said ${JSON.stringify(printed)}`;
    return new PluginError(Code.Internal, { ...details, text: `it ended with ${outcome.exitCode}, ${shown}` });
  }
}

/** The error that a plugin printed, if it is one. */
function ownError(printed: string): { code: number; msg: string; details: string } | undefined {
  let value: unknown;
  try {
    value = JSON.parse(printed);
  } catch {
    return undefined;
  }
  if (!isJsonObject(value)) return undefined;
  const { code, msg, details } = value;
  if (typeof msg !== 'string') return undefined;
  return {
    code: typeof code === 'number' && Number.isSafeInteger(code) && code >= 0 ? code : 0,
    msg,
    details: typeof details === 'string' ? details : '',
  };
}

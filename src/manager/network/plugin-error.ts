import { Code, RpcError } from '../../grpc/index.ts';
import type { NetworkConf } from './network-conf.ts';

export type Command = 'ADD' | 'DEL' | 'CHECK' | 'STATUS' | 'GC' | 'VERSION';

/** Codes of the CNI specification that mean something to us. */
export const pluginCode = { unknownContainer: 3, tryAgain: 11, unavailable: 50, limited: 51 } as const;

export interface PluginFailure {
  readonly type: string;
  readonly network: Pick<NetworkConf, 'name' | 'file'>;
  readonly command: Command;
  /** What happened, for people. */
  readonly text: string;
  /** Of the plugin's own error; 0 for other failures. */
  readonly pluginCode?: number;
  /** Its program is not there. */
  readonly missing?: boolean;
}

const longest = 2048;

/** Text of others in a line of ours. */
export function oneLine(text: string): string {
  const line = text.replace(/[\x00-\x1f\x7f]+/g, ' ').trim();
  return line.length > longest ? `${line.slice(0, longest)}…` : line;
}

/** A call of a plugin that did not succeed; the message names plugin, network and file. */
export class PluginError extends RpcError {
  readonly pluginCode: number;
  readonly missing: boolean;

  constructor(code: Code, { type, network, command, text, pluginCode = 0, missing = false }: PluginFailure) {
    const numbered = pluginCode === 0 ? '' : ` (code ${pluginCode})`;
    super(
      code,
      `CNI plugin "${type}" of network "${network.name}" (${network.file}) failed (${command}): ${oneLine(text)}${numbered}`,
    );
    this.pluginCode = pluginCode;
    this.missing = missing;
  }
}

/** The status for a plugin's own error code. */
export function statusForPluginCode(code: number): Code {
  const transient: number[] = [pluginCode.tryAgain, pluginCode.unavailable, pluginCode.limited];
  return transient.includes(code) ? Code.Unavailable : Code.Internal;
}

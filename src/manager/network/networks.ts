import type { Logger } from 'pino';
import { Code, isRpcError } from '../../grpc/index.ts';
import type { PodAttachments } from './attachment-cache.ts';
import { type NetworkConf, type PluginConf, capabilitiesOf } from './network-conf.ts';
import { PluginError, pluginCode } from './plugin-error.ts';
import type { PluginCall, Plugins } from './plugins.ts';
import { type NetworkResult, ResultError, parseResult, resultForVersion } from './result.ts';
import { atLeast } from './version.ts';

/** Whose interface it is, and what its plugins are told besides the configuration. */
export interface Target extends Pick<PodAttachments, 'sandboxId' | 'arguments' | 'capabilities'> {
  /** '' when it has gone. */
  readonly netnsPath: string;
  readonly interfaceName: string;
}

export interface ValidAttachment {
  readonly containerID: string;
  readonly ifname: string;
}

const statusMilliseconds = 10_000;
/** Nobody is attached or detached meanwhile. */
const collectMilliseconds = 30_000;

function request(
  network: NetworkConf,
  plugin: PluginConf,
  capabilities: Readonly<Record<string, unknown>>,
  previous: NetworkResult | null,
): object {
  const understood = capabilitiesOf(plugin).filter((name) => Object.hasOwn(capabilities, name));
  const runtimeConfig = Object.fromEntries(understood.map((name) => [name, capabilities[name]]));
  return {
    ...plugin,
    name: network.name,
    cniVersion: network.cniVersion,
    ...(understood.length > 0 && { runtimeConfig }),
    ...(previous !== null && { prevResult: resultForVersion(previous, network.cniVersion) }),
  };
}

function variables(target: Target): Record<string, string> {
  return {
    CONTAINERID: target.sandboxId,
    NETNS: target.netnsPath,
    IFNAME: target.interfaceName,
    ARGS: target.arguments,
  };
}

/** What a plugin says that has nothing left to undo where the network namespace has gone. */
function meansGone(error: PluginError, target: Target): boolean {
  if (error.pluginCode === pluginCode.unknownContainer) return true;
  return target.netnsPath === '' && /no such file or directory|not found/i.test(error.message);
}

/** Carries a command of the CNI specification through the plugins of a network. */
export class Networks {
  readonly #plugins: Plugins;
  readonly #deadlineMilliseconds: number;
  readonly #log: Logger;

  /** @param deadlineMilliseconds for each call of a plugin about a pod */
  constructor(plugins: Plugins, deadlineMilliseconds: number, log: Logger) {
    this.#plugins = plugins;
    this.#deadlineMilliseconds = deadlineMilliseconds;
    this.#log = log;
  }

  /** @throws {PluginError} of the first plugin that fails; what those before it did stays, and `remove` undoes it */
  async add(network: NetworkConf, target: Target, signal?: AbortSignal): Promise<NetworkResult> {
    let result: NetworkResult | null = null;
    for (const plugin of network.plugins) {
      const call: PluginCall = {
        command: 'ADD',
        network,
        plugin,
        input: request(network, plugin, target.capabilities, result),
        variables: variables(target),
        deadlineMilliseconds: this.#deadlineMilliseconds,
        signal,
      };
      const printed = await this.#plugins.call(call);
      try {
        result = parseResult(printed);
      } catch (error) {
        if (!(error instanceof ResultError)) throw error;
        throw this.#plugins.error(call, `its result is not valid: ${error.message}`);
      }
    }
    return result as NetworkResult;
  }

  /**
   * Undoes `add`, last plugin first; harmless when there is nothing to undo. A plugin whose program has gone is logged and left out.
   * @throws {PluginError} of the first plugin that fails: then it is to be called again
   */
  async remove(network: NetworkConf, target: Target, result: NetworkResult | null): Promise<void> {
    const previous = atLeast(network.cniVersion, '0.4.0') ? result : null;
    for (const plugin of network.plugins.toReversed()) {
      try {
        await this.#plugins.call({
          command: 'DEL',
          network,
          plugin,
          input: request(network, plugin, target.capabilities, previous),
          variables: variables(target),
          deadlineMilliseconds: this.#deadlineMilliseconds,
        });
      } catch (error) {
        if (!(error instanceof PluginError)) throw error;
        if (!error.missing && !meansGone(error, target)) throw error;
        this.#log.error(
          { sandboxId: target.sandboxId, err: error },
          error.missing
            ? 'a CNI plugin has gone: what it made for this pod may stay'
            : 'a CNI plugin found nothing left to undo',
        );
      }
    }
  }

  /** @throws {PluginError} of the first plugin that finds something wrong */
  async check(network: NetworkConf, target: Target, result: NetworkResult): Promise<void> {
    if (network.disableCheck || !atLeast(network.cniVersion, '0.4.0')) return;
    for (const plugin of network.plugins) {
      await this.#plugins.call({
        command: 'CHECK',
        network,
        plugin,
        input: request(network, plugin, target.capabilities, result),
        variables: variables(target),
        deadlineMilliseconds: this.#deadlineMilliseconds,
      });
    }
  }

  /** Whether pods can be attached, as far as its plugins know. Nothing is asked before version 1.1.0. @throws {PluginError} */
  async status(network: NetworkConf): Promise<void> {
    if (!atLeast(network.cniVersion, '1.1.0')) return;
    for (const plugin of network.plugins) {
      try {
        await this.#plugins.call({
          command: 'STATUS',
          network,
          plugin,
          input: request(network, plugin, {}, null),
          variables: {},
          deadlineMilliseconds: Math.min(statusMilliseconds, this.#deadlineMilliseconds),
        });
      } catch (error) {
        // Not all that speak 1.1.0 know all of its commands.
        if (!isRpcError(error, Code.Internal) || !/unknown CNI_COMMAND/i.test(error.message)) throw error;
      }
    }
  }

  /** Lets plugins give back what belongs to no attachment of these. One that fails is logged, and keeps no other from it. */
  async collectGarbage(network: NetworkConf, valid: readonly ValidAttachment[]): Promise<void> {
    if (network.disableGc || !atLeast(network.cniVersion, '1.1.0')) return;
    for (const plugin of network.plugins) {
      // The second name is what the specification said by mistake for a while.
      const attachments = { 'cni.dev/valid-attachments': valid, 'cni.dev/attachments': valid };
      try {
        await this.#plugins.call({
          command: 'GC',
          network,
          plugin,
          input: { ...request(network, plugin, {}, null), ...attachments },
          variables: {},
          deadlineMilliseconds: Math.min(collectMilliseconds, this.#deadlineMilliseconds),
        });
      } catch (error) {
        this.#log.warn({ err: error }, 'a CNI plugin could not collect garbage');
      }
    }
  }
}

import { Code, isRpcError } from '../../grpc/index.ts';

import {
  fromTimestamp,
  type Init,
  sandboxV1,
  shimV1,
  type MethodNames,
  type RequestOf,
  type ResponseOf,
  nowNanoseconds,
} from '../../wire/index.ts';
import type { CreateTaskOptions, StartSandboxOptions } from './pod-shim.ts';
import { TaskShim } from './task-shim.ts';

/** stdin that attach clients write to. */
const attachedStdin = 'attach://';
/** Output that attach clients alone see. */
const unloggedOutput = 'file:///dev/null';

/** Our own shim: it has a sandbox service, and writes the containers' logs itself. */
export class BerthPodShim extends TaskShim {
  async startSandbox({
    hostname,
    netnsPath,
    annotations,
  }: StartSandboxOptions): Promise<{ pid: number; createdAt: bigint }> {
    const { id: sandboxId, bundle: bundlePath } = this.info;
    // Read at CreateSandbox.
    this.folder.writeSpec({ annotations, ...(hostname === '' ? {} : { hostname }) });
    await this.#sandbox('CreateSandbox', { sandboxId, bundlePath, netnsPath, annotations });
    const { pid, createdAt } = await this.#sandbox('StartSandbox', { sandboxId });
    return { pid, createdAt: fromTimestamp(createdAt) ?? nowNanoseconds() };
  }

  async sandboxEnded(): Promise<void> {
    await this.askAgain(() =>
      this.connection.call(sandboxV1, 'WaitSandbox', { sandboxId: this.info.id }, { timeoutMs: undefined }),
    );
  }

  async stopSandbox(timeoutSeconds: number): Promise<void> {
    const timeoutMs = timeoutSeconds * 1000 + this.deadlines.sandboxMs;
    try {
      await this.#sandbox('StopSandbox', { sandboxId: this.info.id, timeoutSecs: timeoutSeconds }, timeoutMs);
    } catch (error) {
      // None was created.
      if (!isRpcError(error, Code.FailedPrecondition)) throw error;
    }
  }

  async create({ id, bundle, rootfs, logPath, terminal, stdin }: CreateTaskOptions): Promise<number> {
    const output = logPath === '' ? unloggedOutput : `cri://${encodeURI(logPath).replace(/[?#]/g, encodeURIComponent)}`;
    const stdio = { stdin: stdin ? attachedStdin : '', stdout: output, stderr: terminal ? '' : output };
    return await this.createTask({ id, bundle, rootfs, terminal, ...stdio });
  }

  /** It tells of an end when that is so. */
  outputWritten(): Promise<void> {
    return Promise.resolve();
  }

  async reopenLog(id: string): Promise<void> {
    const options = { timeoutMs: this.deadlines.answerMs, about: `container "${id}"` };
    await this.connection.call(shimV1, 'ReopenLogs', { id }, options);
  }

  protected async askToEnd(): Promise<void> {
    const sandboxId = this.info.id;
    try {
      await this.#sandbox('ShutdownSandbox', { sandboxId });
    } catch (error) {
      // None was created.
      if (!isRpcError(error, Code.FailedPrecondition)) throw error;
      await this.task('Shutdown', { id: sandboxId, now: true }, { timeoutMs: this.deadlines.answerMs });
    }
  }

  #sandbox<Name extends MethodNames<typeof sandboxV1, 'unary'>>(
    name: Name,
    request: Init<RequestOf<(typeof sandboxV1)['methods'][Name]>>,
    timeoutMs = this.deadlines.sandboxMs,
  ): Promise<ResponseOf<(typeof sandboxV1)['methods'][Name]>> {
    return this.connection.call(sandboxV1, name, request, { timeoutMs });
  }
}

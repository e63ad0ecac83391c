import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { removeCgroups, unlinkQuietly } from '../linux/index.ts';
import { hasOwnPidNamespace, initPidPath, RuntimeError, type Spec } from '../oci/index.ts';
import { Code, TtrpcError } from '../ttrpc/index.ts';
import type { task } from '../wire/index.ts';
import { containerEvents } from './container-events.ts';
import { Container } from './container.ts';
import type { ShimContext } from './context.ts';
import { specCgroups } from './spec-cgroups.ts';
import { checkId } from './ids.ts';
import { connectProcess } from './process-start.ts';
import { newProcessRecord } from './process.ts';
import { answerFile, containerRecordFile, writeRecord, type ContainerRecord } from './record.ts';
import { mountRootfs, unmountRootfs } from './rootfs.ts';
import { readRuntimeOptions, resolveRuntime } from './runtime-options.ts';
import { allowedOomScoreAdj } from './shim-process.ts';

type Undo = () => void | Promise<void>;

const cgroupTimeoutMs = 2000;

/** Lets the sandbox, when there is one, make the container's configuration a member's; says whether it changed anything. */
export type SpecAdapter = (spec: Spec) => boolean;

/**
 * Makes a container: rootfs, stdio, the runtime's create. What was done is undone, newest first, when a step fails, and is
 * in the bundle's record before it is done, so that `delete` can undo it after a crash.
 */
export async function createContainer(
  request: task.CreateTaskRequest,
  adapt: SpecAdapter,
  context: ShimContext,
): Promise<Container> {
  checkId(request.id, 'container id');
  const { bundle } = request;
  const spec = readSpec(bundle);
  if (adapt(spec) || clampOomScore(spec, context)) writeFileSync(join(bundle, 'config.json'), JSON.stringify(spec));
  const record = newRecord(request, spec, context);
  const undo: Undo[] = [];
  try {
    undo.push(() => {
      context.records.forget(record);
    });
    writeRecord(bundle, containerRecordFile, record);
    unlinkQuietly(join(bundle, answerFile));
    if (request.rootfs.length > 0) {
      undo.push(() => {
        unmountRootfs(bundle, context.native);
      });
      mountRootfs(request.rootfs, bundle, context.native);
    }
    const container = new Container(record, context);
    if (request.checkpoint === '') await runCreate(container, spec, context, undo);
    context.events.publish(containerEvents.create(container, request.rootfs));
    container.save();
    if (request.checkpoint === '') container.watchInit();
    return container;
  } catch (error) {
    for (const step of undo.reverse()) await tryUndo(step, request.id, context);
    throw error;
  }
}

async function runCreate(container: Container, spec: Spec, context: ShimContext, undo: Undo[]): Promise<void> {
  const { record, runtime, init } = container;
  const { bundle } = record;
  undo.push(() => init.closeStdio());
  const options = {
    bundle,
    pidFile: initPidPath(bundle),
    noPivot: record.runtime.noPivotRoot,
    noNewKeyring: record.runtime.noNewKeyring,
  };
  const forget: Undo = async () => {
    await runtime.delete(record.id, true);
    // A runtime that was killed half way may have forgotten the cgroups that it had made.
    await removeCgroups(specCgroups(spec, record.id), AbortSignal.timeout(cgroupTimeoutMs));
  };
  try {
    await connectProcess(init, container, context, (stdio) => runtime.create(record.id, { ...options, stdio }));
    undo.push(forget);
  } catch (error) {
    // A container of that id that the runtime has already is not ours to remove.
    if (!(error instanceof RuntimeError && error.reason === 'exists')) undo.push(forget);
    throw error;
  }
  container.adoptInit();
}

function newRecord(request: task.CreateTaskRequest, spec: Spec, context: ShimContext): ContainerRecord {
  const { id, bundle, stdin, stdout, stderr, terminal } = request;
  const workFolder = join(bundle, 'work');
  const runtime = resolveRuntime(
    readRuntimeOptions(request.options),
    context.record.namespace,
    workFolder,
    context.config,
  );
  if (request.checkpoint !== '') mkdirSync(workFolder, { recursive: true, mode: 0o711 });
  return {
    id,
    bundle,
    runtime,
    hasMounts: request.rootfs.length > 0,
    ownPidNamespace: hasOwnPidNamespace(spec),
    paused: false,
    checkpoint: request.checkpoint,
    parentCheckpoint: request.parentCheckpoint,
    cgroups: {},
    oomKills: 0,
    init: newProcessRecord('', { stdin, stdout, stderr, terminal }),
    execs: [],
  };
}

/** A score that the kernel would refuse to the container becomes the nearest that it allows; otherwise the container could not start. */
function clampOomScore(spec: Spec, context: ShimContext): boolean {
  const wanted = spec.process?.oomScoreAdj;
  if (spec.process === undefined || typeof wanted !== 'number') return false;
  const allowed = allowedOomScoreAdj(wanted);
  if (allowed === wanted) return false;
  context.log.warn('oom_score_adj is lower than this shim may give: the nearest allowed is used', { wanted, allowed });
  spec.process.oomScoreAdj = allowed;
  return true;
}

function readSpec(bundle: string): Spec {
  try {
    return JSON.parse(readFileSync(join(bundle, 'config.json'), 'utf8')) as Spec;
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new TtrpcError(Code.InvalidArgument, `the bundle ${bundle} has no config.json that can be read: ${why}`, {
      cause,
    });
  }
}

async function tryUndo(step: () => void | Promise<void>, id: string, context: ShimContext): Promise<void> {
  try {
    await step();
  } catch (error) {
    context.log.warn(`cleaning up after the failed creation of container "${id}"`, { error: inspect(error) });
  }
}

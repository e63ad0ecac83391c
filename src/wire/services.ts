import { Shim } from './generated/berth.shim.v1.ts';
import { Sandbox } from './generated/containerd.runtime.sandbox.v1.ts';
import { Events } from './generated/containerd.services.events.ttrpc.v1.ts';
import { Task } from './generated/containerd.task.v3.ts';

/** What a shim does with containers. */
export const taskV3 = Task;

/** The same under its older name; one implementation serves both, as the messages are alike. */
export const taskV2 = { ...Task, name: 'containerd.task.v2.Task' };

/** What a shim does for a pod. */
export const sandboxV1 = Sandbox;

/** Where a shim sends its events. */
export const eventsV1 = Events;

/** What only our own shim does. */
export const shimV1 = Shim;

/** The metadata key under which containerd's clients name their namespace in ttRPC calls. */
export const namespaceKey = 'containerd-namespace-ttrpc';

// containerd's services and our own, on the socket beside CRI.
export { berthImagesService } from './berth-images.ts';
export { containerDirectory, taskDirectory } from './pod-directories.ts';
export { type ContainerdServices, endlessMethods, registerServices } from './register.ts';
export {
  type ContainerDirectory,
  type ContainerView,
  criNamespace,
  type DaemonFacts,
  type DaemonView,
  type JournalView,
  type TaskDirectory,
  type TaskExit,
  type TaskView,
} from './views.ts';

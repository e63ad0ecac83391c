import type { cri } from '../../wire/index.ts';
import type { SpecInput } from './input.ts';

/** Classes of Intel RDT and of block I/O that the peers take from annotations, and Berth does not have. */
const classes = /^(io\.kubernetes\.cri\.(rdt|blockio)-class|(rdt|blockio)\.resources\.beta\.kubernetes\.io\/.+)$/;

/**
 * What config.json tells the runtime and the shim of the container: who it is, by the names that containerd's CRI uses.
 * No annotation of the pod or the container is passed on: runtimes obey some, and those who may write them are not
 * those who configure runtimes.
 */
export function specAnnotations({ sandbox, container, image }: SpecInput): Record<string, string> {
  const { metadata } = sandbox.config;
  return {
    'io.kubernetes.cri.container-type': 'container',
    'io.kubernetes.cri.sandbox-id': sandbox.id,
    'io.kubernetes.cri.sandbox-name': metadata?.name ?? '',
    'io.kubernetes.cri.sandbox-namespace': metadata?.namespace ?? '',
    'io.kubernetes.cri.sandbox-uid': metadata?.uid ?? '',
    'io.kubernetes.cri.container-name': container.config.metadata?.name ?? '',
    'io.kubernetes.cri.image-name': imageName(container.config.image, image.record.id),
  };
}

function imageName(image: cri.ImageSpec | undefined, id: string): string {
  const names = [image?.userSpecifiedImage, image?.image];
  return names.find((name) => name !== undefined && name !== '') ?? id;
}

/** Annotations that ask for what is not there, for the log. */
export function annotationWarnings(pod: cri.PodSandboxConfig, container: cri.ContainerConfig): string[] {
  return [...new Set([...Object.keys(pod.annotations), ...Object.keys(container.annotations)])]
    .filter((name) => classes.test(name))
    .map((name) => `the annotation "${name}" is ignored: Berth sets no classes of RDT or block I/O`);
}

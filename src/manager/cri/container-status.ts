import type { Images } from '../images/index.ts';
import type { ContainerRecord } from '../pods/index.ts';
import { cri, type Init } from '../../wire/index.ts';

/** What CRI calls the state. One that is being removed is told by whether it has ended. */
export function containerState({ state, finishedAt }: ContainerRecord): cri.ContainerState {
  switch (state) {
    case 'creating':
    case 'created':
    case 'starting':
      return cri.ContainerState.CONTAINER_CREATED;
    case 'running':
      return cri.ContainerState.CONTAINER_RUNNING;
    case 'exited':
      return cri.ContainerState.CONTAINER_EXITED;
    case 'removing':
      return finishedAt > 0n ? cri.ContainerState.CONTAINER_EXITED : cri.ContainerState.CONTAINER_UNKNOWN;
  }
}

/** The image as the container was asked for by, with its name where it has one now. */
function imageSpec({ config, imageId }: ContainerRecord, images: Images): Init<cri.ImageSpec> {
  const asked = config.image?.image ?? '';
  const name = images.find(imageId)?.tags[0] ?? asked;
  return {
    image: name,
    annotations: config.image?.annotations ?? {},
    userSpecifiedImage: config.image?.userSpecifiedImage ?? '',
  };
}

/** One line of ListContainers. */
export function listedContainer(record: ContainerRecord): Init<cri.Container> {
  const { id, sandboxId, config, imageRef, imageId, createdAt } = record;
  return {
    id,
    podSandboxId: sandboxId,
    metadata: config.metadata,
    image: config.image,
    imageRef,
    imageId,
    state: containerState(record),
    createdAt,
    labels: config.labels,
    annotations: config.annotations,
  };
}

/** The answer of ContainerStatus. */
export function containerStatus(record: ContainerRecord, images: Images): Init<cri.ContainerStatus> {
  const { config, user, resources } = record;
  return {
    id: record.id,
    metadata: config.metadata,
    state: containerState(record),
    createdAt: record.createdAt,
    startedAt: record.startedAt,
    finishedAt: record.finishedAt,
    exitCode: record.exitCode,
    image: imageSpec(record, images),
    imageRef: record.imageRef,
    imageId: record.imageId,
    reason: record.reason,
    message: record.message,
    labels: config.labels,
    annotations: config.annotations,
    mounts: config.mounts,
    logPath: record.logPath,
    resources: resources && { linux: resources },
    user: {
      linux: {
        uid: user.uid,
        gid: user.gid,
        supplementalGroups: [user.gid, ...user.additionalGids.filter((gid) => gid !== user.gid)],
      },
    },
    stopSignal: signalEnum(record.stopSignal),
  };
}

/** CRI numbers signals by an enum of its own; one that it does not know is its default. */
function signalEnum(signal: number): cri.Signal {
  return signalByNumber.get(signal) ?? cri.Signal.RUNTIME_DEFAULT;
}

const realTimeFirst = 34;
const classicSignals =
  'HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS';

const signalByNumber = new Map<number, cri.Signal>(
  Object.entries(cri.Signal).flatMap(([name, value]): [number, cri.Signal][] => {
    const number = signalNumberOf(name);
    return number === undefined ? [] : [[number, value]];
  }),
);

function signalNumberOf(name: string): number | undefined {
  const bare = name.replace(/^SIG/, '');
  const classic = classicSignals.split(' ').indexOf(bare);
  if (classic >= 0) return classic + 1;
  const [, base, sign, offset] = /^(RTMIN|RTMAX)(?:(PLUS|MINUS)(\d+))?$/.exec(bare) ?? [];
  if (base === undefined) return undefined;
  const from = base === 'RTMIN' ? realTimeFirst : 64;
  return sign === 'MINUS' ? from - Number(offset) : from + Number(offset ?? 0);
}

import type { Spec } from '../../oci/index.ts';
import { annotationWarnings, specAnnotations } from './annotations.ts';
import { apparmorProfile } from './apparmor.ts';
import { processCapabilities } from './capabilities.ts';
import { cgroupsPath } from './cgroups-path.ts';
import { checkContainerConfig, checkSelinux } from './check.ts';
import { processArgs, workingDirectory } from './command.ts';
import { deviceAccess } from './devices.ts';
import { environment } from './environment.ts';
import type { Accounts } from './image-accounts.ts';
import type { BuiltSpec, ResolvedUser, SpecInput } from './input.ts';
import { mounts } from './mounts.ts';
import { namespaces } from './namespaces.ts';
import { oomScoreAdj, resourceWarnings, updateResources } from './resources.ts';
import { seccomp } from './seccomp.ts';
import { sysctls } from './sysctls.ts';
import { resolveUser } from './user.ts';

/** All that Berth sets is in it, and runtimes that know no later one still run. */
const ociVersion = '1.0.2';

/**
 * The config.json of a container: what the request, the image and the host say, put together as containerd's CRI does.
 * It makes folders of the host that are to be mounted and are not there, and nothing else; nothing of the image is run
 * or opened but two files.
 * @throws {RpcError} INVALID_ARGUMENT and UNIMPLEMENTED for what the request says, FAILED_PRECONDITION for what this
 * host cannot give
 */
export async function buildSpec(input: SpecInput): Promise<BuiltSpec> {
  const { sandbox, container, image, host, accounts } = input;
  const { config } = container;
  checkContainerConfig(config, sandbox.config);
  const security = config.linux?.securityContext;
  checkSelinux(security, host);
  let known: Accounts | undefined;
  const user = resolveUser(
    security,
    image.record.config.user,
    () => (known ??= accounts.of(image.record.id, image.layers)),
  );
  const { capabilities, missing } = processCapabilities(security, host.capabilities);
  const filter = seccomp(security, capabilities.bounding, host);
  const profile = apparmorProfile(security, host);
  const score = oomScoreAdj(config.linux?.resources, host);
  const resources = config.linux?.resources === undefined ? {} : updateResources(config.linux.resources, host);
  const paths = cgroupsPath(sandbox.config, container.id, host);
  const spaces = namespaces(sandbox, container, host);
  const { devices, rules } = await deviceAccess(config);
  const mounted = await mounts(input);
  const hidden = security?.privileged === true ? undefined : security;
  const spec: Spec = {
    ociVersion,
    root: { path: 'rootfs', readonly: security?.readonlyRootfs ?? false },
    process: {
      terminal: config.tty,
      args: processArgs(config, image.record.config),
      env: environment(config, image.record.config, sandbox.hostname === '' ? host.hostname : sandbox.hostname),
      cwd: workingDirectory(config, image.record.config),
      user: processUser(user),
      capabilities,
      noNewPrivileges: security?.noNewPrivs ?? false,
      ...(score !== undefined && { oomScoreAdj: score }),
      ...(profile !== undefined && { apparmorProfile: profile }),
    },
    mounts: mounted.mounts,
    annotations: specAnnotations(input),
    linux: {
      namespaces: spaces,
      cgroupsPath: paths,
      resources: { ...resources, devices: rules },
      sysctl: sysctls(sandbox.config),
      maskedPaths: hidden?.maskedPaths ?? [],
      readonlyPaths: hidden?.readonlyPaths ?? [],
      ...(devices.length > 0 && { devices }),
      ...(filter !== undefined && { seccomp: filter }),
      ...(mounted.rootfsPropagation !== undefined && { rootfsPropagation: mounted.rootfsPropagation }),
    },
  };
  return { spec, user, warnings: warningsOf(input, missing, score) };
}

function processUser({ uid, gid, additionalGids }: ResolvedUser): {
  uid: number;
  gid: number;
  additionalGids: number[];
} {
  return { uid, gid, additionalGids: [...additionalGids] };
}

function warningsOf({ sandbox, container, host }: SpecInput, missing: string[], score: number | undefined): string[] {
  const { config } = container;
  const asked = Number(config.linux?.resources?.oomScoreAdj ?? 0n);
  return [
    ...missing.map((name) => `${name} is not given: berthd lacks it`),
    ...(score !== undefined && score !== asked
      ? [`oom_score_adj is ${score}, the lowest that berthd may give, not ${asked}`]
      : []),
    ...resourceWarnings(config.linux?.resources, host),
    ...annotationWarnings(sandbox.config, config),
  ];
}

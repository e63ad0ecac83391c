import { join } from 'node:path';
import { builtOnce, findGo, goBuild, moduleThatRequires, pinnedVersion, Unavailable } from './go.ts';

const criTools = 'sigs.k8s.io/cri-tools';

export interface CriTools {
  /** The conformance suite of the container runtime interface. */
  critest: string;
  crictl: string;
  version: string;
  /** Where they came from, in words. */
  origin: string;
}

/** Kubernetes's own judge and client of CRI, built when they are first asked for. @throws {Unavailable} without Go or its module proxy */
export async function criToolsPrograms(): Promise<CriTools> {
  const version = await pinnedVersion(criTools);
  const go = await findGo();
  if (go === undefined) {
    throw new Unavailable(
      `critest and crictl ${version} are of a Go module; without Go (1.26 or later) nothing of it can be built.\n` +
        'Install Go from https://go.dev/dl and run it again.',
    );
  }
  const { folder, origin } = await builtOnce(go, 'cri-tools', version, async (work, out) => {
    const module = join(work, 'module');
    await moduleThatRequires(module, criTools);
    await goBuild(go, module, ['test', '-c', '-o', join(out, 'critest'), `${criTools}/cmd/critest`]);
    // Without it crictl says that its version is unknown.
    const flags = `-s -w -X ${criTools}/pkg/version.Version=${version}`;
    await goBuild(go, module, ['build', `-ldflags=${flags}`, '-o', join(out, 'crictl'), `${criTools}/cmd/crictl`]);
    return `${criTools}@${version} from the module proxy`;
  });
  return { critest: join(folder, 'critest'), crictl: join(folder, 'crictl'), version, origin };
}

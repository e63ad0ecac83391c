import { join } from 'node:path';
import { OciLayout } from './oci-layout.ts';

/** Packs a root file system as an OCI image of one layer into an archive that `ctr images import` reads. Gives the archive's path. */
export async function makeImageArchive(rootfs: string, folder: string, reference: string): Promise<string> {
  const layout = new OciLayout(join(folder, 'image'));
  layout.addImage(reference, [await layout.addLayer(rootfs)], { Env: ['PATH=/usr/bin:/bin'], Cmd: ['sh'] });
  const archive = join(folder, 'image.tar');
  await layout.archive(archive);
  return archive;
}

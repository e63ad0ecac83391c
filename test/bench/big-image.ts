import { randomBytes } from 'node:crypto';
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from '../support/command.ts';
import { OciLayout } from '../support/oci-layout.ts';
import { Registry } from '../support/registry.ts';

const layers = 8;
const filesOfLayer = 250;
const fileBytes = 100_000;

/**
 * Makes an image of 8 layers of 25 MB each, half of it zeros in blocks, and puts it into the storage of a registry.
 * @param folder for it; `storage` in it is the registry's
 * @param name such as "big:latest"
 */
export async function makeBigImage(folder: string, name: string): Promise<void> {
  const layout = new OciLayout(join(folder, 'layout'));
  const made = [];
  for (let n = 0; n < layers; n++) {
    const root = join(folder, 'root');
    mkdirSync(join(root, `layer-${n}`), { recursive: true });
    for (let file = 0; file < filesOfLayer; file++) {
      const content = Buffer.concat([randomBytes(fileBytes / 2), Buffer.alloc(fileBytes / 2)]);
      writeFileSync(join(root, `layer-${n}`, `file-${file}`), content);
    }
    made.push(await layout.addLayer(root, { gzip: true }));
    rmSync(root, { recursive: true });
  }
  layout.addImage(name, made);
  await using registry = await Registry.start({ folder });
  const to = `docker://${registry.address}/${name}`;
  const args = ['copy', '--quiet', '--dest-tls-verify=false', `oci:${layout.folder}:${name}`, to];
  const { code, stderr } = await command('skopeo', args, { deadlineMilliseconds: 120_000 });
  if (code !== 0) throw new Error(`skopeo ${args.join(' ')}: ${stderr}`);
  rmSync(layout.folder, { recursive: true });
}

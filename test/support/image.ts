import { createHash } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { command } from './command.ts';

/** Packs a root file system as an OCI image of one layer into an archive that `ctr images import` reads. Gives the archive's path. */
export async function makeImageArchive(rootfs: string, folder: string, reference: string): Promise<string> {
  const layout = join(folder, 'image');
  const blobs = join(layout, 'blobs/sha256');
  mkdirSync(blobs, { recursive: true });
  const layerPath = join(folder, 'layer.tar');
  await tar('--create', '--file', layerPath, '--directory', rootfs, '--numeric-owner', '.');

  const blob = (mediaType: string, bytes: Buffer) => {
    const hex = createHash('sha256').update(bytes).digest('hex');
    writeFileSync(join(blobs, hex), bytes);
    return { mediaType, digest: `sha256:${hex}`, size: bytes.length };
  };
  const json = (mediaType: string, content: object) => blob(mediaType, Buffer.from(JSON.stringify(content)));
  const layer = blob('application/vnd.oci.image.layer.v1.tar', readFileSync(layerPath));
  const config = json('application/vnd.oci.image.config.v1+json', {
    architecture: { x64: 'amd64', arm64: 'arm64' }[process.arch as string],
    os: 'linux',
    config: { Env: ['PATH=/usr/bin:/bin'], Cmd: ['sh'] },
    rootfs: { type: 'layers', diff_ids: [layer.digest] },
  });
  const manifestType = 'application/vnd.oci.image.manifest.v1+json';
  const manifest = json(manifestType, { schemaVersion: 2, mediaType: manifestType, config, layers: [layer] });
  const named = { ...manifest, annotations: { 'io.containerd.image.name': reference } };
  writeFileSync(join(layout, 'index.json'), JSON.stringify({ schemaVersion: 2, manifests: [named] }));
  writeFileSync(join(layout, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));

  const archive = join(folder, 'image.tar');
  await tar('--create', '--file', archive, '--directory', layout, 'oci-layout', 'index.json', 'blobs');
  return archive;
}

async function tar(...args: string[]): Promise<void> {
  const { code, stderr } = await command('tar', args);
  if (code !== 0) throw new Error(`tar ${args.join(' ')}: ${stderr}`);
}

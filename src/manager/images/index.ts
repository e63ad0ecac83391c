// Images: from registries by skopeo, from archives; their layers unpacked for overlayfs.
export type { Credentials } from './credentials.ts';
export { Images, type ImagesOptions, type ImagesUsage, type PullOptions } from './images.ts';
export type { LayerProgress } from './progress.ts';
export type { ImageConfig, ImageRecord } from './record.ts';
export { parseReference, type Reference, referenceText } from './reference.ts';
export type { ArchiveFormat } from './save.ts';

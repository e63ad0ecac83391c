export { DiskUsages } from './disk-usage.ts';
export { ImageService } from './image-service.ts';
export { RuntimeService } from './runtime-service.ts';
export { RuntimeStatus } from './runtime-status.ts';
export { Stats } from './stats.ts';

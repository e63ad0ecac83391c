import assert from 'node:assert/strict';
import { test } from 'node:test';
import { imageVolumes } from '../../../../src/manager/spec/index.ts';
import { containerConfig, imageConfig } from './configs.ts';

test('an image’s volumes need folders where no mount of the container is, each once', () => {
  const image = imageConfig({ volumes: ['/data', '/data/', 'logs', '/cache', '/../up', '/', '/nul\0'] });
  const config = containerConfig({ mounts: [{ containerPath: '/cache/', hostPath: '/srv' }] });
  assert.deepEqual(imageVolumes(image, config), ['/data', '/logs', '/up']);
});

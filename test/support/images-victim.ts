/** Pulls an image until it is killed: `node images-victim.ts FOLDER REGISTRIES_CONF REFERENCE`. */
import { join } from 'node:path';
import { pino } from 'pino';
import { Images } from '../../src/manager/images/index.ts';
import { Store } from '../../src/manager/store/index.ts';
import { nativeAddon } from './paths.ts';

const [folder = '', registriesConf = '', reference = ''] = process.argv.slice(2);
const images = await Images.open({
  folder: join(folder, 'images'),
  store: new Store(join(folder, 'berth.db')),
  addon: nativeAddon,
  log: pino({ level: 'silent' }),
  config: { registriesConf, policy: '', authFile: '', unpackConcurrency: 2, pullProgressTimeoutSeconds: 30 },
  inUse: () => new Set(),
});
await images.pull(reference, { onProgress: (layers) => console.log(layers.map(({ state }) => state).join('')) });
console.log('pulled');
setInterval(() => undefined, 1000);

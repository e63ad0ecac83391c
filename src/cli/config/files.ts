import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { type Codec, cri, type Init } from '../../wire/index.ts';
import type { Context } from '../context.ts';
import { Failure, isSystemError, messageOf } from '../failure.ts';
import { messageFromJson } from './message-from-json.ts';

/** A pod's configuration from a JSON or YAML file; a uid is made where it has none. @throws {Failure} */
export async function readPodConfig(context: Context, path: string): Promise<Init<cri.PodSandboxConfig>> {
  const config = await readConfig(context, path, cri.PodSandboxConfig);
  const { metadata } = config;
  if (!metadata?.name || !metadata.namespace) {
    throw new Failure(`cannot use ${path}: metadata.name and metadata.namespace must be there`);
  }
  return metadata.uid ? config : { ...config, metadata: { ...metadata, uid: randomUUID() } };
}

/** A container's configuration from a JSON or YAML file. @throws {Failure} */
export async function readContainerConfig(context: Context, path: string): Promise<Init<cri.ContainerConfig>> {
  const config = await readConfig(context, path, cri.ContainerConfig);
  const { metadata, image } = config;
  if (!metadata?.name) throw new Failure(`cannot use ${path}: metadata.name must be there`);
  if (!image?.image) throw new Failure(`cannot use ${path}: image.image must be there`);
  if (image.userSpecifiedImage) return config;
  return { ...config, image: { ...image, userSpecifiedImage: image.image } };
}

async function readConfig<T>(context: Context, path: string, codec: Codec<T>): Promise<Init<T>> {
  const content = await readData(path);
  try {
    return messageFromJson(codec, content, (place) => {
      context.say(`berthctl: ${path}: there is no "${place}" in ${codec.typeName}; it is ignored`);
    });
  } catch (error) {
    throw new Failure(`cannot use ${path}: ${messageOf(error)}`, { cause: error });
  }
}

async function readData(path: string): Promise<unknown> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    const why = isSystemError(error, 'ENOENT') ? 'there is no such file' : messageOf(error);
    throw new Failure(`cannot read ${path}: ${why}`, { cause: error });
  }
  try {
    return JSON.parse(text);
  } catch {
    const { parse } = await import('yaml');
    try {
      return parse(text);
    } catch (error) {
      throw new Failure(`cannot read ${path}: it is neither JSON nor YAML: ${messageOf(error)}`, { cause: error });
    }
  }
}

import { type Codec, type Init, Writer } from '../wire/index.ts';
import { FrameType, headerBytes, maxDataBytes, writeHeader } from './frame.ts';
import type { MetadataInit } from './metadata.ts';
import { Code, TtrpcError } from './status.ts';

// The envelopes of proto/ttrpc.proto are written here field by field, straight into the frame that carries them, because a
// payload that is a message of its own would otherwise be copied twice. Reading uses the generated code.
const lengthDelimited = 2;
const tag = {
  requestService: (1 << 3) | lengthDelimited,
  requestMethod: (2 << 3) | lengthDelimited,
  requestPayload: (3 << 3) | lengthDelimited,
  requestTimeoutNano: 4 << 3,
  requestMetadata: (5 << 3) | lengthDelimited,
  responseStatus: (1 << 3) | lengthDelimited,
  responsePayload: (2 << 3) | lengthDelimited,
  statusCode: 1 << 3,
  statusMessage: (2 << 3) | lengthDelimited,
  pairKey: (1 << 3) | lengthDelimited,
  pairValue: (2 << 3) | lengthDelimited,
};

/** A message and how to write it. */
export interface Payload<T> {
  readonly codec: Codec<T>;
  readonly message: Init<T>;
}

export interface RequestInit {
  readonly service: string;
  readonly method: string;
  /** Absent when the request stream brings the messages. */
  readonly payload: Payload<unknown> | undefined;
  /** How long the caller will wait; undefined for as long as it takes. */
  readonly timeoutMs: number | undefined;
  readonly metadata: MetadataInit | undefined;
}

/** @throws {TtrpcError} RESOURCE_EXHAUSTED when it does not fit into one frame; so do the other functions here */
export function requestFrame(streamId: number, flags: number, request: RequestInit): Buffer {
  const writer = startFrame();
  writer.uint32(tag.requestService);
  writer.string(request.service);
  writer.uint32(tag.requestMethod);
  writer.string(request.method);
  if (request.payload) writePayload(writer, tag.requestPayload, request.payload);
  if (request.timeoutMs !== undefined) {
    writer.uint32(tag.requestTimeoutNano);
    // 0 would mean that there is no deadline, so a deadline that is reached already is sent as passed.
    writer.varint64(request.timeoutMs > 0 ? BigInt(Math.ceil(request.timeoutMs * 1e6)) : -1n);
  }
  for (const [key, values] of Object.entries(request.metadata ?? {})) {
    for (const value of typeof values === 'string' ? [values] : values) writePair(writer, key, value);
  }
  return endFrame(writer, streamId, FrameType.request, flags);
}

export function responseFrame(streamId: number, payload: Payload<unknown>): Buffer {
  const writer = startFrame();
  writePayload(writer, tag.responsePayload, payload);
  return endFrame(writer, streamId, FrameType.response, 0);
}

export function statusFrame(streamId: number, { code, message }: TtrpcError): Buffer {
  const writer = startFrame();
  writer.uint32(tag.responseStatus);
  const mark = writer.open();
  writer.uint32(tag.statusCode);
  writer.int32(code);
  writer.uint32(tag.statusMessage);
  writer.string(message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)}…` : message);
  writer.close(mark);
  return endFrame(writer, streamId, FrameType.response, 0);
}

/** Data frames carry the message bare. */
export function dataFrame(streamId: number, flags: number, payload?: Payload<unknown>): Buffer {
  const writer = startFrame();
  payload?.codec.write(payload.message, writer);
  return endFrame(writer, streamId, FrameType.data, flags);
}

/** A status message of this many UTF-16 units fits into a frame whatever its characters are. */
const maxMessageLength = 1 << 20;

function startFrame(): Writer {
  const writer = new Writer();
  writer.skip(headerBytes);
  return writer;
}

function endFrame(writer: Writer, streamId: number, type: number, flags: number): Buffer {
  const dataBytes = writer.length - headerBytes;
  if (dataBytes > maxDataBytes) throw oversized(dataBytes);
  return writeHeader(writer.finish(), streamId, type, flags);
}

/** Worded as Go's ttRPC does. */
export function oversized(dataBytes: number): TtrpcError {
  const message = `message length ${dataBytes} exceed maximum message size of ${maxDataBytes}`;
  return new TtrpcError(Code.ResourceExhausted, message);
}

function writePayload(writer: Writer, fieldTag: number, { codec, message }: Payload<unknown>): void {
  writer.uint32(fieldTag);
  const mark = writer.open();
  codec.write(message, writer);
  writer.close(mark);
}

function writePair(writer: Writer, key: string, value: string): void {
  writer.uint32(tag.requestMetadata);
  const mark = writer.open();
  writer.uint32(tag.pairKey);
  writer.string(key.toLowerCase());
  writer.uint32(tag.pairValue);
  writer.string(value);
  writer.close(mark);
}

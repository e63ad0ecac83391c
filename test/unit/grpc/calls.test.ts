import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, test, type TestContext } from 'node:test';
import { Code, GrpcClient, GrpcServer, isRpcError, RpcError, type ServiceHandlers } from '../../../src/grpc/index.ts';
import { berth, cri } from '../../../src/wire/index.ts';

interface Bed {
  server: GrpcServer;
  client: GrpcClient;
}

async function bed(
  t: TestContext,
  handlers: ServiceHandlers<typeof cri.RuntimeService>,
  images: ServiceHandlers<typeof berth.Images> = {},
): Promise<Bed> {
  const folder = mkdtempSync(join(tmpdir(), 'berth-grpc-'));
  const server = new GrpcServer();
  server.register(cri.RuntimeService, handlers);
  server.register(berth.Images, images);
  await server.listen(join(folder, 's'));
  const client = new GrpcClient(join(folder, 's'));
  t.after(() => {
    client.close();
    server.close();
    rmSync(folder, { recursive: true });
  });
  return { server, client };
}

const failsWith = (code: Code, message: RegExp) => (error: unknown) =>
  isRpcError(error, code) && message.test(error.message);

describe('gRPC on a unix socket', () => {
  test('carries 64-bit numbers, maps and lists both ways', async (t) => {
    const { client } = await bed(t, {
      ListContainers: ({ filter }) => ({
        containers: [{ id: filter?.id ?? '', createdAt: 2n ** 62n, labels: { ...filter?.labelSelector } }],
      }),
    });
    const { containers } = await client.call(cri.RuntimeService, 'ListContainers', {
      filter: { id: 'one', labelSelector: { a: 'b' } },
    });
    assert.deepEqual(
      containers.map(({ id, createdAt, labels }) => [id, createdAt, labels]),
      [['one', 2n ** 62n, { a: 'b' }]],
    );
  });

  test('gives the status and the message that the handler threw', async (t) => {
    const { client } = await bed(t, {
      Version: () => {
        throw new RpcError(Code.NotFound, 'no such thing: ünïcode');
      },
    });
    await assert.rejects(
      client.call(cri.RuntimeService, 'Version', {}),
      failsWith(Code.NotFound, /^no such thing: ünïcode$/),
    );
  });

  test('answers UNIMPLEMENTED for what has no handler', async (t) => {
    const { client } = await bed(t, {});
    await assert.rejects(client.call(cri.RuntimeService, 'Exec', {}), failsWith(Code.Unimplemented, /Exec/));
  });

  test('tells a handler when its caller has gone', async (t) => {
    const entered = Promise.withResolvers<undefined>();
    const aborted = Promise.withResolvers<undefined>();
    const { client } = await bed(t, {
      Version: async (_request, { signal }) => {
        entered.resolve(undefined);
        await new Promise((resolve) => signal.addEventListener('abort', resolve));
        aborted.resolve(undefined);
        return {};
      },
    });
    const controller = new AbortController();
    const call = client.call(cri.RuntimeService, 'Version', {}, { signal: controller.signal });
    const cancelled = assert.rejects(call, failsWith(Code.Cancelled, /./));
    await entered.promise;
    controller.abort();
    await cancelled;
    await aborted.promise;
  });

  test('gives a call up when its time is over', async (t) => {
    const { client } = await bed(t, { Version: () => new Promise<never>(() => undefined) });
    await assert.rejects(
      client.call(cri.RuntimeService, 'Version', {}, { timeoutMs: 100 }),
      failsWith(Code.DeadlineExceeded, /./),
    );
  });

  test('streams more than fits in between, in order, and ends', async (t) => {
    const count = 20_000;
    const { client } = await bed(t, {
      async *StreamContainers() {
        for (let i = 0; i < count; i++) yield await Promise.resolve({ containers: [{ id: String(i) }] });
      },
    });
    let seen = 0;
    for await (const { containers } of client.stream(cri.RuntimeService, 'StreamContainers', {})) {
      assert.equal(containers[0]?.id, String(seen++));
    }
    assert.equal(seen, count);
  });

  test('a stream that fails throws the status after what it sent', async (t) => {
    const { client } = await bed(t, {
      async *StreamContainers() {
        yield await Promise.resolve({ containers: [] });
        throw new RpcError(Code.OutOfRange, 'gone');
      },
    });
    const stream = client.stream(cri.RuntimeService, 'StreamContainers', {});
    assert.equal((await stream.next()).done, false);
    await assert.rejects(stream.next(), failsWith(Code.OutOfRange, /^gone$/));
  });

  test('leaving a stream ends it on the server', async (t) => {
    const ended = Promise.withResolvers<undefined>();
    const { client } = await bed(t, {
      async *StreamContainers(_request, { signal }) {
        try {
          while (!signal.aborted) {
            yield { containers: [] };
            await new Promise((next) => setTimeout(next, 5));
          }
        } finally {
          ended.resolve(undefined);
        }
      },
    });
    for await (const message of client.stream(cri.RuntimeService, 'StreamContainers', {})) {
      assert.ok(message);
      break;
    }
    await ended.promise;
  });

  test('uploads a stream and gives its answer', async (t) => {
    const { client } = await bed(
      t,
      {},
      {
        Load: async (chunks) => {
          let bytes = 0;
          for await (const { content } of chunks) bytes += content.length;
          return { images: [{ imageId: String(bytes) }] };
        },
      },
    );
    const chunk = Buffer.alloc(100_000);
    async function* chunks() {
      for (let i = 0; i < 100; i++) yield await Promise.resolve({ content: chunk });
    }
    const { images } = await client.upload(berth.Images, 'Load', chunks());
    assert.equal(images[0]?.imageId, String(100 * chunk.length));
  });

  test('says which socket nobody answers on', async () => {
    const client = new GrpcClient('/nonexistent/berth.sock');
    await assert.rejects(
      client.call(cri.RuntimeService, 'Version', {}, { timeoutMs: 5000 }),
      failsWith(Code.Unavailable, /\/nonexistent\/berth\.sock/),
    );
    client.close();
  });
});

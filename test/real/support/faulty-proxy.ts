import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse, request as sendRequest } from 'node:http';

export interface Answer {
  status: number;
  body: string;
}

/** What a fault sees of a request. */
export interface ProxiedRequest {
  method: string;
  path: string;
  headers: IncomingMessage['headers'];
  body: string;
  /** Asks the real server, with another body if one is given. */
  forward(body?: string): Promise<Answer>;
}

/**
 * Answers in the server's place, breaks the connection, never answers, or (`undefined`) leaves the request to the
 * server.
 */
export type Fault = (request: ProxiedRequest) => MaybePromise<Answer | 'hang up' | 'silence' | undefined>;
type MaybePromise<T> = T | Promise<T>;

/** The server is too busy for anything, until a time (milliseconds of `Date.now()`). */
export const busyUntil =
  (time: number): Fault =>
  () =>
    Date.now() < time
      ? {
          status: 429,
          body: '{"error":{"type":"rejected_execution_exception","reason":"too busy"},"status":429}',
        }
      : undefined;

/** What a bulk answers of an item for which the server was too busy. */
export const REFUSED_ITEM = {
  index: { status: 429, error: { type: 'rejected_execution_exception', reason: 'full' } },
};

/** Stands before a real server and spoils some of its answers. */
export class FaultyProxy {
  readonly url: string;
  readonly requests: ProxiedRequest[] = [];
  fault: Fault = () => undefined;
  readonly #close: () => Promise<void>;

  private constructor(url: string, close: () => Promise<void>) {
    this.url = url;
    this.#close = close;
  }

  static async before(target: string): Promise<FaultyProxy> {
    const server = createServer((request, response) => proxy.#handle(target, request, response));
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const { port } = server.address() as { port: number };
    const proxy = new FaultyProxy(`http://127.0.0.1:${port}`, async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    });
    return proxy;
  }

  close(): Promise<void> {
    return this.#close();
  }

  async #handle(target: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
    const body = Buffer.concat(await request.toArray());
    const ask = (changed: Buffer) => passOn(target, request, changed);
    const proxied: ProxiedRequest = {
      method: request.method!,
      path: request.url!,
      headers: request.headers,
      body: body.toString(),
      forward: async (changed) => {
        const { status, body: answer } = await ask(changed === undefined ? body : Buffer.from(changed));
        return { status, body: answer.toString() };
      },
    };
    this.requests.push(proxied);
    try {
      const spoiled = await this.fault(proxied);
      if (spoiled === 'silence') return;
      if (spoiled === 'hang up') {
        request.socket.destroy();
      } else if (spoiled) {
        response.writeHead(spoiled.status, { 'content-type': 'application/json' }).end(spoiled.body);
      } else {
        const { status, headers, body: answer } = await ask(body);
        response.writeHead(status, headers).end(answer);
      }
    } catch {
      // The server itself is away.
      request.socket.destroy();
    }
  }
}

async function passOn(target: string, { method, url, headers }: IncomingMessage, body: Buffer) {
  const { 'transfer-encoding': _, ...rest } = headers;
  const onward = sendRequest(target + url, {
    method: method!,
    headers: { ...rest, 'content-length': body.length },
  });
  onward.end(body);
  const [answer] = (await once(onward, 'response')) as [IncomingMessage];
  const { 'transfer-encoding': __, connection: ___, ...answered } = answer.headers;
  return { status: answer.statusCode!, headers: answered, body: Buffer.concat(await answer.toArray()) };
}

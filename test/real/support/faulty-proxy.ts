import { once } from 'node:events';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';

/** What a fault sees of a request, and may do with it: answer by itself, or leave it to the server. */
export interface ProxiedRequest {
  method: string;
  path: string;
  body: string;
  /** Asks the real server, with another body if one is given. */
  forward(body?: string): Promise<{ status: number; body: string }>;
}

export type Fault = (
  request: ProxiedRequest,
) =>
  | Promise<{ status: number; body: string } | 'hang up' | undefined>
  | { status: number; body: string }
  | 'hang up'
  | undefined;

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
    const body = Buffer.concat(await request.toArray()).toString();
    const { method = 'GET', url: path = '/', headers } = request;
    const contentType = headers['content-type'] ?? 'application/json';
    const forward = async (changed = body) => {
      const hasBody = method !== 'GET' && method !== 'HEAD';
      const answer = await fetch(target + path, {
        method: method === 'GET' && body ? 'POST' : method,
        headers: { 'content-type': contentType },
        ...((hasBody || body) && { body: changed }),
      });
      return { status: answer.status, body: await answer.text() };
    };
    const proxied = { method, path, body, forward };
    this.requests.push(proxied);
    const answer = (await this.fault(proxied)) ?? (await forward());
    if (answer === 'hang up') request.socket.destroy();
    else response.writeHead(answer.status, { 'content-type': 'application/json' }).end(answer.body);
  }
}

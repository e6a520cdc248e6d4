/** Servers of the host for network tests, on loopback. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createTcpServer, type Socket } from "node:net";
import type { TestContext } from "node:test";

/** What the HTTP server has of a body; repeated. */
const BLOCK = Buffer.from(Array.from({ length: 65536 }, (_, i) => (i * 7 + (i >> 8)) & 255));

/**
 * HTTP: `GET /N` gives N bytes, `PUT` or `POST` answers with the number of bytes that came.
 * @returns its port on 127.0.0.1
 */
export async function httpServer(t: TestContext): Promise<number> {
  const server = createServer((request, response) => {
    if (request.method !== "GET") {
      let n = 0;
      request.on("data", (d: Buffer) => {
        n += d.length;
      });
      request.on("end", () => response.end(`${n}\n`));
      return;
    }
    let left = Number(request.url?.slice(1)) || 0;
    response.writeHead(200, { "content-length": String(left) });
    const more = () => {
      while (left > 0) {
        const n = Math.min(left, BLOCK.length);
        left -= n;
        if (!response.write(n === BLOCK.length ? BLOCK : BLOCK.subarray(0, n))) {
          response.once("drain", more);
          return;
        }
      }
      response.end();
    };
    more();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  return (server.address() as AddressInfo).port;
}

/** TCP server that counts what comes and then says how much it was. @returns its port on 127.0.0.1 */
export async function sinkServer(t: TestContext, onBytes: (n: number) => void): Promise<number> {
  const sockets = new Set<Socket>();
  const server = createTcpServer({ allowHalfOpen: true }, (s) => {
    sockets.add(s);
    let n = 0;
    s.on("data", (d) => {
      n += d.length;
      onBytes(d.length);
    });
    s.on("end", () => s.end(`${n}\n`));
    s.on("error", () => {});
    s.on("close", () => sockets.delete(s));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.close();
    for (const s of sockets) s.destroy();
  });
  return (server.address() as AddressInfo).port;
}

/** A name server that answers every question for an IPv4 address with 192.0.2.7. @returns its port on 127.0.0.1 */
export async function dnsServer(t: TestContext): Promise<number> {
  const socket = createSocket("udp4");
  socket.on("message", (q, from) => {
    // The question ends after its name, type and class.
    let at = 12;
    while (at < q.length && q[at] !== 0) at += q[at]! + 1;
    const question = q.subarray(12, at + 5);
    const isA = q[at + 2] === 1;
    const head = Buffer.from([q[0]!, q[1]!, 0x81, 0x80, 0, 1, 0, isA ? 1 : 0, 0, 0, 0, 0]);
    const answer = isA ? Buffer.from([0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]) : Buffer.alloc(0);
    socket.send(Buffer.concat([head, question, answer]), from.port, from.address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  t.after(() => socket.close());
  return socket.address().port;
}

#!/usr/bin/env node
// A static file server for dist/web with the headers that shared memory needs (COOP, COEP).
//   node tools/serve-web.mjs [--port 8080] [--host 127.0.0.1] [FOLDER]
import { createReadStream } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const TYPES = {
  ".html": "text/html; charset=utf-8",
  ".js": "text/javascript; charset=utf-8",
  ".css": "text/css; charset=utf-8",
  ".map": "application/json",
  ".json": "application/json",
  ".wasm": "application/wasm",
  ".txt": "text/plain; charset=utf-8",
};
const HEADERS = {
  "Cross-Origin-Opener-Policy": "same-origin",
  "Cross-Origin-Embedder-Policy": "require-corp",
  "Cross-Origin-Resource-Policy": "same-origin",
  "X-Content-Type-Options": "nosniff",
  "Cache-Control": "no-cache",
};

/** Serves a folder; resolves with the server, listening. Port 0 takes a free one. */
export function serveFolder(folder, { port = 0, host = "127.0.0.1" } = {}) {
  const root = path.resolve(folder);
  const server = createServer((request, response) => {
    answer(root, request, response).catch(() => {
      if (!response.headersSent) response.writeHead(500, HEADERS);
      response.end();
    });
  });
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, () => resolve(server));
  });
}

async function answer(root, request, response) {
  const fail = (status) => response.writeHead(status, HEADERS).end();
  if (request.method !== "GET" && request.method !== "HEAD") return fail(405);
  let name;
  try {
    name = decodeURIComponent(new URL(request.url ?? "/", "http://localhost").pathname);
  } catch {
    return fail(400);
  }
  if (name.includes("\0")) return fail(400);
  if (name.endsWith("/")) name += "index.html";
  const file = path.join(root, name);
  if (!file.startsWith(root + path.sep)) return fail(404);
  const info = await stat(file).catch(() => undefined);
  if (!info?.isFile()) return fail(404);
  const type = TYPES[path.extname(file)] ?? "application/octet-stream";
  response.writeHead(200, { ...HEADERS, "Content-Type": type, "Content-Length": info.size });
  if (request.method === "HEAD") return response.end();
  const stream = createReadStream(file);
  stream.on("error", () => response.destroy());
  response.on("close", () => stream.destroy());
  stream.pipe(response);
}

if (process.argv[1] && fileURLToPath(import.meta.url) === path.resolve(process.argv[1])) {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: { port: { type: "string", default: "8080" }, host: { type: "string", default: "127.0.0.1" } },
  });
  const folder = positionals[0] ?? fileURLToPath(new URL("../dist/web", import.meta.url));
  const server = await serveFolder(folder, { port: Number(values.port), host: values.host });
  const address = server.address();
  console.log(`serving ${folder} at http://${values.host}:${address.port}/`);
}

import assert from "node:assert/strict";
import { createServer, type RequestListener } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";
import { debianTest } from "../../testkit/debian.js";
import { nodeHost } from "../host/node/index.js";
import { openImage } from "./drive.js";
import { parseDriveOptions } from "./drive-options.js";
import { BlockGraph } from "./graph.js";
import { checkedByQemu, imageFolder, QEMU_IMG, qemuImg } from "./test-images.js";

const at = imageFolder();
const CONTENT = Uint8Array.from({ length: 1_000_000 }, (_, i) => (i * 7) ^ (i >> 9));

/** A web server of one answer. */
async function serving(listener: RequestListener, body: (url: string) => Promise<void>): Promise<void> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  try {
    await body(`http://127.0.0.1:${(server.address() as AddressInfo).port}/image`);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const ranges =
  (more: { etag?: () => string; lie?: (from: number, to: number) => [number, number] } = {}): RequestListener =>
  (request, answer) => {
    const m = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "");
    if (!m) return void answer.writeHead(200).end(CONTENT);
    let [from, to] = [Number(m[1]), Math.min(CONTENT.length - 1, Number(m[2]))];
    if (more.lie && to > 0) [from, to] = more.lie(from, to);
    answer.writeHead(206, {
      "content-range": `bytes ${from}-${to}/${CONTENT.length}`,
      ...(more.etag ? { etag: more.etag() } : {}),
    });
    answer.end(CONTENT.subarray(from, to + 1));
  };

test("ranges of a web server, read ahead", async () => {
  let requests = 0;
  const listener = ranges();
  await serving(
    (q, a) => {
      requests++;
      listener(q, a);
    },
    async (url) => {
      const g = new BlockGraph(nodeHost());
      const node = await g.openFile(url, { readOnly: true, format: "raw" });
      const out = new Uint8Array(1000);
      for (let offset = 0; offset < 999_000; offset += 1000) {
        await node.read(offset, out);
        assert.ok(Buffer.compare(out, CONTENT.subarray(offset, offset + 1000)) === 0, `at ${offset}`);
      }
      assert.ok(requests <= 6, `${requests} requests`);
      await assert.rejects(g.openFile(url, { readOnly: false, format: "raw" }), /supports only read-only/);
      await g.close();
    },
  );
});

debianTest("a local overlay over a web server", [QEMU_IMG], async () => {
  await serving(ranges(), async (url) => {
    const overlay = at("o.qcow2");
    qemuImg("create", "-q", "-u", "-f", "qcow2", "-b", url, "-F", "raw", overlay, "1M");
    const g = new BlockGraph(nodeHost());
    const node = await g.openFile(overlay, { readOnly: false });
    await node.write(65536, new Uint8Array(512).fill(9));
    const out = new Uint8Array(1 << 20);
    await node.read(0, out);
    assert.deepEqual([out[5], out[65536], out[66048]], [CONTENT[5], 9, CONTENT[66048]]);
    assert.equal(out[CONTENT.length], 0);
    await g.close();
    // QEMU cannot ask this process while it waits for QEMU.
    qemuImg("rebase", "-u", "-b", "", overlay);
    checkedByQemu(overlay);
    // And in memory.
    const text = `-drive file=${url},format=raw,snapshot=on`;
    const props = new Map([
      ["file", url],
      ["format", "raw"],
      ["snapshot", "on"],
    ]);
    const h = new BlockGraph(nodeHost());
    const disk = await openImage(parseDriveOptions(props, text, { nextIndex: () => 0 }), h);
    await disk.write(0, new Uint8Array(512).fill(8));
    await disk.read(0, out.subarray(0, 1024));
    assert.deepEqual([out[0], out[512]], [8, CONTENT[512]]);
    await disk.close();
    await h.close();
  });
});

for (const [name, listener, message] of [
  ["no ranges", (_q, a) => void a.end("x"), /does not support 'range'/],
  ["not there", (_q, a) => void a.writeHead(404).end(), /answers 404/],
  ["no length", (_q, a) => void a.writeHead(206, { "content-range": "bytes 0-0/*" }).end("x"), /how long the file is/],
  [
    "a length of 2^64",
    (_q, a) => void a.writeHead(206, { "content-range": "bytes 0-0/18446744073709551616" }).end("x"),
    /how long the file is/,
  ],
  ["other bytes than asked for", ranges({ lie: (f, t) => [f + 1, t] }), /did not send the bytes/],
  ["fewer bytes", ranges({ lie: (f, t) => [f, t - 1] }), /did not send the bytes/],
  ["a file that changes", ranges({ etag: () => `"${changes++}"` }), /has changed/],
  ["redirections without end", (q, a) => void a.writeHead(302, { location: q.url! }).end(), /redirections/],
  ["a redirection to a file", (_q, a) => void a.writeHead(302, { location: "file:///etc/passwd" }).end(), /not HTTP/],
  [
    "bytes without end",
    (q, a) => {
      if (q.headers.range === "bytes=0-0") return ranges()(q, a);
      a.writeHead(206, { "content-range": `bytes 0-262143/${CONTENT.length}` });
      const pour = () => {
        while (!a.destroyed && a.write(CONTENT));
        a.once("drain", pour);
      };
      pour();
    },
    /more than was asked for/,
  ],
] as [string, RequestListener, RegExp][])
  test(`hostile 22: a web server with ${name}`, () =>
    serving(listener, async (url) => {
      const g = new BlockGraph(nodeHost());
      const run = g.openFile(url, { readOnly: true, format: "raw" }).then((node) => node.read(0, new Uint8Array(512)));
      await assert.rejects(run, message);
      await g.close();
    }));

let changes = 0;

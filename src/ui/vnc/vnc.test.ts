import assert from "node:assert/strict";
import { createCipheriv } from "node:crypto";
import { test } from "node:test";
import type { HostNetwork, TcpStream } from "../../host/network.js";
import { nodeDeflater } from "../../host/node/deflate.js";
import type { Surface } from "../display.js";
import { InputHub } from "../input.js";
import { desEncrypt, vncResponse } from "./des.js";
import { Encoding } from "./encodings.js";
import { qcodeOfKeysym } from "./keysyms.js";
import { NATIVE_FORMAT, type PixelFormat, PixelWriter, readFormat, writeFormat } from "./pixel-format.js";
import { Pseudo } from "./protocol.js";
import { type SharePolicy, VncServer } from "./server.js";
import { Viewer, ViewerStream } from "./test-viewer.js";

function noise(seed: number): () => number {
  let s = seed;
  return () => {
    s = (Math.imul(s, 1103515245) + 12345) >>> 0;
    return s >>> 8;
  };
}

/** A screen with flat parts, two-coloured parts, small palettes, gradients and noise. */
function picture(width: number, height: number, seed = 1): Surface {
  const pixels = new Uint32Array(width * height);
  const random = noise(seed);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < width; x++) {
      const part = (Math.floor(x / 50) + Math.floor(y / 40) * 3 + seed) % 6;
      pixels[y * width + x] = [
        0x204060,
        random() & 1 ? 0xffffff : 0,
        (random() % 13) * 0x131313,
        ((x & 255) << 16) | (y << 8) | ((x * y) & 255),
        random() & 0xffffff,
        (random() % 200) * 0x010203,
      ][part]!;
    }
  return { width, height, pixels };
}

function setup(options: { password?: boolean; share?: SharePolicy; surface?: Surface } = {}) {
  let surface = options.surface ?? picture(333, 211);
  const keys: string[] = [];
  const moves: string[] = [];
  const notes: string[] = [];
  const input = new InputHub();
  input.add({ name: "k", key: (q, down) => keys.push(`${down ? "+" : "-"}${q}`) });
  const tablet = { name: "t", moveTo: (x: number, y: number, dz: number, b: number) => moves.push(`${x},${y},${dz},${b}`) };
  const mouse = { name: "m", moveBy: (x: number, y: number, dz: number, b: number) => moves.push(`${x},${y},${dz},${b}`) };
  input.add(mouse);
  let accept!: (s: TcpStream) => void;
  const network = {
    listenTcp: async (at: unknown, on: typeof accept) => {
      accept = on;
      return { local: at, close() {} };
    },
  } as unknown as HostNetwork;
  const server = new VncServer({
    id: "default",
    name: "test",
    needsPassword: options.password ?? false,
    share: options.share ?? "allow-exclusive",
    network,
    scheduler: {
      soon: (t) => void setImmediate(t),
      after: (ms, t) => {
        const timer = setTimeout(t, ms);
        return () => clearTimeout(timer);
      },
    },
    clock: { monotonicNs: () => 0, wallMs: () => 1000 },
    createDeflater: nodeDeflater,
    random: (out) => out.fill(5),
    display: () => ({ refresh: () => surface, text: () => undefined }),
    input,
    qcodeOfScancode: (c) => (c === 0x1e ? "a" : c === 0xe048 ? "up" : undefined),
    note: (t) => notes.push(t),
  });
  return {
    server,
    keys,
    moves,
    notes,
    input,
    tablet,
    show: (s: Surface) => {
      surface = s;
    },
    get surface() {
      return surface;
    },
    async client(format: PixelFormat = NATIVE_FORMAT) {
      await server.listen({ host: "127.0.0.1", port: 5900 });
      const stream = new ViewerStream();
      accept(stream);
      return new Viewer(stream, format);
    },
  };
}

const FORMATS: readonly (readonly [string, PixelFormat])[] = [
  ["native", NATIVE_FORMAT],
  ["big-endian, blue first", { ...NATIVE_FORMAT, bigEndian: true, redShift: 0, blueShift: 16 }],
  ["colours in the high bytes", { ...NATIVE_FORMAT, redShift: 24, greenShift: 16, blueShift: 8 }],
  ["depth 32", { ...NATIVE_FORMAT, depth: 32 }],
  [
    "16 bits",
    { ...NATIVE_FORMAT, bitsPerPixel: 16, depth: 16, redMax: 31, greenMax: 63, blueMax: 31, redShift: 11, greenShift: 5 },
  ],
  ["8 bits", { ...NATIVE_FORMAT, bitsPerPixel: 8, depth: 8, redMax: 7, greenMax: 7, blueMax: 3, redShift: 5, greenShift: 2 }],
];

for (const [name, encoding] of Object.entries(Encoding)) {
  if (encoding === Encoding.copyRect) continue;
  test(`${name} in every format: first picture, changes, another size`, async () => {
    for (const [what, format] of FORMATS) {
      const s = setup();
      const viewer = await s.client(format);
      await viewer.connect();
      assert.equal(viewer.name, "test");
      viewer.encodings(encoding, Pseudo.desktopSize);
      const writer = new PixelWriter(format);
      const check = (when: string) =>
        assert.deepEqual(
          viewer.pixels,
          s.surface.pixels.map((p) => writer.value(p)),
          `${what}: ${when}`,
        );
      viewer.request(false);
      await viewer.update();
      check("first");
      assert.ok(viewer.rects.every((r) => r.encoding === encoding));
      for (let i = 0; i < 3; i++) {
        const next = { ...s.surface, pixels: s.surface.pixels.slice() };
        for (let k = 0; k < 40; k++) next.pixels[(k * 977 + i * 31) % next.pixels.length] = k * 1234567;
        s.show(next);
        viewer.request(true);
        await viewer.update();
        check(`change ${i}`);
      }
      s.show(picture(100, 50, 9));
      viewer.request(true);
      await viewer.update();
      assert.deepEqual([viewer.width, viewer.height], [100, 50]);
      viewer.request(false);
      await viewer.update();
      check("smaller");
      s.server.close();
    }
  });
}

test("a text screen that scrolls is moved by the client", async () => {
  const lines = (from: number): Surface => {
    const pixels = new Uint32Array(640 * 400);
    for (let row = 0; row < 25; row++) {
      const random = noise(from + row + 1);
      for (let i = 0; i < 640 * 16; i++) pixels[row * 640 * 16 + i] = random() & 1 ? 0xaaaaaa : 0;
    }
    return { width: 640, height: 400, pixels };
  };
  const s = setup({ surface: lines(0) });
  const viewer = await s.client();
  await viewer.connect();
  viewer.encodings(Encoding.zrle, Encoding.copyRect);
  viewer.request(false);
  await viewer.update();
  viewer.rects.length = 0;
  s.show(lines(1));
  viewer.request(true);
  await viewer.update();
  assert.deepEqual(viewer.pixels, s.surface.pixels);
  assert.deepEqual(viewer.rects, [
    { x: 0, y: 0, width: 640, height: 384, encoding: Encoding.copyRect },
    { x: 0, y: 384, width: 640, height: 16, encoding: Encoding.zrle },
  ]);
  s.server.close();
});

test("nothing changes: nothing is sent; a stalled client: no more than its bound", async () => {
  const s = setup();
  const viewer = await s.client();
  await viewer.connect();
  viewer.encodings(Encoding.raw);
  viewer.request(false);
  await viewer.update();
  viewer.request(true);
  await new Promise((r) => setTimeout(r, 100));
  assert.equal(viewer.stream.written.length, 0);
  viewer.stream.queuedBytes = 2 ** 21;
  s.show(picture(333, 211, 4));
  await new Promise((r) => setTimeout(r, 100));
  assert.equal(viewer.stream.written.length, 0);
  viewer.stream.queuedBytes = 0;
  viewer.stream.events.drained();
  await viewer.update();
  assert.deepEqual(viewer.pixels, s.surface.pixels);
  s.server.close();
});

test("keys and pointers", async () => {
  const s = setup();
  const viewer = await s.client();
  await viewer.connect();
  viewer.encodings(Encoding.raw, Pseudo.extendedKey);
  const { stream } = viewer;
  stream.send(4, 1, 0, 0, 0, 0, 0, 0x41);
  stream.send(4, 0, 0, 0, 0, 0, 0, 0x41);
  stream.send(4, 1, 0, 0, 0, 0, 0xff, 0x0d);
  stream.send(4, 1, 0, 0, 0, 0x10, 0, 0);
  // QEMU's: the scan code wins.
  stream.send(255, 0, 0, 1, 0, 0, 0, 0x71, 0, 0, 0, 0x1e);
  stream.send(255, 0, 0, 1, 0, 0, 0xff, 0x52, 0, 0, 0, 0xc8);
  assert.deepEqual(s.keys, ["+a", "-a", "+ret", "+a", "+up"]);
  stream.send(5, 0, 0, 10, 0, 20);
  stream.send(5, 1, 0, 13, 0, 18);
  stream.send(5, 4, 0, 13, 0, 18);
  stream.send(5, 8, 0, 13, 0, 18);
  stream.send(5, 0, 0, 13, 0, 18);
  assert.deepEqual(s.moves.splice(0), ["3,-2,0,1", "0,0,0,2", "0,0,-1,0", "0,0,0,0"]);
  s.input.add(s.tablet);
  stream.send(5, 0, 0, 0, 0, 0);
  stream.send(5, 0, 1, 76, 0, 210);
  stream.send(5, 0, 255, 255, 255, 255);
  assert.deepEqual(s.moves.splice(0), ["0,0,0,0", "32767,32767,0,0", "32767,32767,0,0"]);
  // What was held is let go.
  stream.events.closed();
  assert.deepEqual(s.keys.slice(5), ["-ret", "-a", "-up"]);
});

test("relative pointers by QEMU's extension", async () => {
  const s = setup();
  const viewer = await s.client();
  await viewer.connect();
  viewer.encodings(Encoding.raw, Pseudo.pointerMotion);
  viewer.request(false);
  await viewer.update();
  assert.equal(viewer.rects.find((r) => r.encoding === Pseudo.pointerMotion)?.x, 0);
  viewer.stream.send(5, 0, 0x80, 0x04, 0x7f, 0xf0);
  assert.deepEqual(s.moves, ["5,-15,0,0"]);
  s.server.close();
});

test("DES, against the host's own", () => {
  const random = noise(3);
  for (let i = 0; i < 50; i++) {
    const key = Uint8Array.from({ length: 8 }, random);
    const block = Uint8Array.from({ length: 8 }, random);
    // Triple DES with three equal keys is DES.
    const c = createCipheriv("des-ede3", Buffer.concat([key, key, key]), null).setAutoPadding(false);
    assert.deepEqual(desEncrypt(key, block), new Uint8Array(c.update(block)));
  }
});

/** The handshake by hand. @returns what the server says after the response */
async function login(s: ReturnType<typeof setup>, password: string, version = "RFB 003.008\n"): Promise<number[]> {
  const { stream } = await s.client();
  stream.written.splice(0);
  stream.send(...new TextEncoder().encode(version));
  const old = version.includes("003.003");
  assert.deepEqual(stream.written.splice(0, old ? 4 : 2), old ? [0, 0, 0, 2] : [1, 2]);
  if (!old) stream.send(2);
  const challenge = Uint8Array.from(stream.written.splice(0, 16));
  stream.send(...vncResponse(password, challenge));
  return stream.written.splice(0);
}

test("passwords: right, wrong, none set, ended", async () => {
  const s = setup({ password: true });
  assert.deepEqual((await login(s, "")).slice(0, 4), [0, 0, 0, 1]);
  s.server.setPassword("secret12345");
  assert.deepEqual(await login(s, "secret12"), [0, 0, 0, 0]);
  assert.deepEqual(await login(s, "secret12", "RFB 003.003\n"), [0, 0, 0, 0]);
  assert.deepEqual(await login(s, "secret12", "RFB 003.007\n"), [0, 0, 0, 0]);
  const refused = await login(s, "secret1");
  assert.deepEqual(refused.slice(0, 4), [0, 0, 0, 1]);
  assert.equal(String.fromCharCode(...refused.slice(8)), "Authentication failed");
  assert.deepEqual(await login(s, "secret1", "RFB 003.003\n"), [0, 0, 0, 1]);
  s.server.setExpiry(1000);
  assert.deepEqual((await login(s, "secret12")).slice(0, 4), [0, 0, 0, 1]);
  s.server.setExpiry(Number.POSITIVE_INFINITY);
  assert.deepEqual(await login(s, "secret12"), [0, 0, 0, 0]);
  s.server.close();
});

test("who may be there together", async () => {
  for (const [share, first, second] of [
    ["allow-exclusive", false, true],
    ["force-shared", true, false],
    ["ignore", true, true],
  ] as const) {
    const s = setup({ share });
    const a = await s.client();
    await a.connect();
    const { stream } = await s.client();
    stream.send(...new TextEncoder().encode("RFB 003.008\n"));
    stream.send(1);
    stream.send(0);
    assert.deepEqual([!a.stream.closed, !stream.closed], [first, second], share);
    s.server.close();
  }
});

test("pixel formats go round; those that cannot be are refused", () => {
  for (const [name, f] of FORMATS) assert.deepEqual(readFormat(writeFormat(f)), f, name);
  const base = writeFormat(NATIVE_FORMAT);
  for (const [at, value] of [
    [0, 0],
    [0, 24],
    [0, 255],
    [3, 0],
    [5, 0],
    [5, 200],
    [4, 255],
    [10, 30],
  ] as const) {
    const bad = base.slice();
    bad[at] = value;
    assert.equal(readFormat(bad), undefined, `${at}: ${value}`);
  }
});

test("hostile clients are dropped, and the next is served", async () => {
  const init = [...new TextEncoder().encode("RFB 003.008\n"), 1, 1];
  const rows: readonly (readonly [string, number[]])[] = [
    ["garbage for a version", [...new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n")]],
    ["another security type", [...init.slice(0, 12), 16]],
    ["unknown message", [...init, 77]],
    ["0 bits a pixel", [...init, 0, 0, 0, 0, ...new Array(16).fill(0)]],
    ["255 bits a pixel", [...init, 0, 0, 0, 0, 255, 24, 0, 1, ...new Array(12).fill(0)]],
    ["cut text of 4 GB less one", [...init, 6, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff]],
    ["cut text of -2 GB", [...init, 6, 0, 0, 0, 0x80, 0, 0, 0]],
    ["unknown QEMU message", [...init, 255, 9]],
    ["255 screens", [...init, 251, 0, 0, 0, 0, 0, 255, 0]],
  ];
  const s = setup();
  for (const [name, bytes] of rows) {
    const { stream } = await s.client();
    // Byte by byte, as a slow network may.
    for (const b of bytes) if (!stream.closed) stream.send(b);
    assert.equal(stream.closed, true, name);
  }
  // 65,535 encodings, 20,000 keys, 1 MB of text: taken, and the picture still comes.
  const viewer = await s.client();
  await viewer.connect();
  viewer.encodings(...Array.from({ length: 65534 }, (_, i) => i + 1000), Encoding.hextile);
  for (let i = 0; i < 20_000; i++) viewer.stream.events.data(Uint8Array.of(4, i & 1, 0, 0, 0, 0, 0, 0x61));
  viewer.stream.events.data(Uint8Array.from([6, 0, 0, 0, 0, 0x10, 0, 0, ...new Array(2 ** 20).fill(65)]));
  viewer.request(false);
  await viewer.update();
  assert.deepEqual(viewer.pixels, s.surface.pixels);
  // A window outside the screen.
  viewer.stream.send(3, 0, 255, 255, 255, 255, 255, 255, 255, 255);
  for (let i = 0; i < 200; i++) await s.client();
  assert.ok(s.server.connections().length <= 64);
  s.server.close();
});

test("every key of a US keyboard has a keysym", () => {
  for (let c = 0x20; c < 0x7f; c++) assert.ok(qcodeOfKeysym(c), String.fromCharCode(c));
  assert.equal(qcodeOfKeysym(0xffbe), "f1");
  assert.equal(qcodeOfKeysym(0x1000020), undefined);
});

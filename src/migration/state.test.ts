import assert from "node:assert/strict";
import { test } from "node:test";
import { crc32 } from "../base/crc32.js";
import { VmError } from "../base/errors.js";
import { nodeStreams } from "../host/node/streams.js";
import type { ByteSink, ByteSource } from "../host/stream.js";
import type { StateValue } from "../hw/core/device.js";
import { DEPTH_LIMIT, decodeState, encodeState } from "./encoding.js";
import { difference, receiveState, type Snapshotable, saveState } from "./state.js";

const values: StateValue[] = [
  null,
  true,
  false,
  0,
  -0,
  1.5,
  Number.POSITIVE_INFINITY,
  0n,
  -1n,
  2n ** 64n - 1n,
  -(2n ** 63n),
  "",
  "ü€\u{1f600}",
  Uint8Array.of(1, 2, 3),
  [],
  [1, [2, [null]]],
  { a: 1, b: { c: "x" }, constructor: 5 },
];

test("values survive", () => {
  for (const v of values) assert.deepStrictEqual(decodeState(encodeState(v)), v);
});

test("no truncation and no changed byte of an encoding crashes or hangs", () => {
  const good = encodeState(values);
  for (let i = 0; i < good.length; i++) assert.throws(() => decodeState(good.subarray(0, i)), VmError, `cut at ${i}`);
  for (let i = 0; i < good.length; i++)
    for (const flip of [1, 0x80, 0xff]) {
      const bad = good.slice();
      bad[i]! ^= flip;
      try {
        decodeState(bad);
      } catch (e) {
        assert.ok(e instanceof VmError, `byte ${i} ^ ${flip}: ${e}`);
      }
    }
});

/** Rows: bytes that lie. */
const lies: [name: string, bytes: number[]][] = [
  ["string of 4 GiB", [5, 255, 255, 255, 255]],
  ["bytes of 4 GiB", [6, 255, 255, 255, 255]],
  ["array of 4 G", [7, 255, 255, 255, 255]],
  ["object of 4 G", [8, 255, 255, 255, 255]],
  ["nothing", []],
  ["unknown kind", [99]],
  ["two values", [0, 0]],
  ["nesting", Array.from({ length: DEPTH_LIMIT + 2 }, () => [7, 1, 0, 0, 0]).flat()],
  ["__proto__", [8, 1, 0, 0, 0, 9, 0, 0, 0, ...Array.from("__proto__", (c) => c.charCodeAt(0)), 0]],
  ["not UTF-8", [5, 1, 0, 0, 0, 0xff]],
];

test("encodings that lie are refused", () => {
  for (const [name, bytes] of lies)
    assert.throws(() => decodeState(Uint8Array.from(bytes)), { name: "VmError", code: "migration/bad-stream" }, name);
});

test("CRC-32", () => {
  const text = new TextEncoder().encode("123456789");
  assert.equal(crc32(text), 0xcbf43926);
  assert.equal(crc32(text.subarray(4), crc32(text.subarray(0, 4))), 0xcbf43926);
});

/** A machine of two blocks and two devices. */
class FakeMachine implements Snapshotable {
  readonly ram = new Uint8Array(5 * 2 ** 20);
  readonly video = new Uint8Array(64 * 1024);
  state: { [part: string]: StateValue } = { clock: { ns: 5 }, device: { a: 1n, b: Uint8Array.of(9) } };
  prepared = 0;
  constructor(readonly memoryBytes = 5) {}
  shape() {
    return { memoryBytes: this.memoryBytes, devices: ["x", "y"] };
  }
  memory() {
    return [
      { name: "ram", bytes: this.ram },
      { name: "video", bytes: this.video },
    ];
  }
  saveParts() {
    return Object.entries(this.state);
  }
  prepare() {
    this.prepared++;
  }
  restoreParts(parts: ReadonlyMap<string, StateValue>) {
    this.state = Object.fromEntries(parts);
  }
}

function filled(): FakeMachine {
  const m = new FakeMachine();
  for (let i = 0; i < m.ram.length; i += 997) m.ram[i] = i % 251;
  m.ram.fill(0, 2 ** 20, 4 * 2 ** 20);
  m.ram[3 * 2 ** 20 + 77] = 1;
  m.video.fill(0xaa);
  return m;
}

class Collector implements ByteSink {
  parts: Uint8Array[] = [];
  async write(data: Uint8Array) {
    this.parts.push(data.slice());
  }
  async close() {}
  abort() {}
  get bytes(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.parts));
  }
}

function sourceOf(bytes: Uint8Array, chunkBytes = 1000): ByteSource {
  let at = 0;
  return {
    async read() {
      if (at >= bytes.length) return undefined;
      at += chunkBytes;
      return bytes.subarray(at - chunkBytes, at);
    },
    async close() {},
  };
}

async function saved(machine = filled()): Promise<Uint8Array> {
  const sink = new Collector();
  await saveState(machine, sink, { host: nodeStreams, notes: { runState: "running" } });
  return sink.bytes;
}

test("memory and state survive; zero pages cost nothing", async () => {
  const from = filled();
  const bytes = await saved(from);
  const to = new FakeMachine();
  to.ram.fill(0x55);
  const received = await receiveState(to, sourceOf(bytes, 77_777), nodeStreams);
  assert.equal(to.ram[2 ** 20], 0x55);
  assert.equal(to.prepared, 0);
  await received.apply();
  assert.equal(to.prepared, 1);
  assert.deepEqual(to.ram, from.ram);
  assert.deepEqual(to.video, from.video);
  assert.deepEqual(to.state, from.state);
  assert.equal(received.notes.runState, "running");
  assert.ok(bytes.length < 200_000, `${bytes.length} bytes`);
});

/** Refuses `bytes`, and has touched nothing. */
async function refuses(bytes: Uint8Array, code: string, name: string, machine = new FakeMachine()): Promise<void> {
  machine.ram.fill(0x55);
  const state = structuredClone(machine.state);
  await assert.rejects(receiveState(machine, sourceOf(bytes), nodeStreams), { name: "VmError", code }, name);
  assert.equal(machine.prepared, 0, name);
  assert.deepEqual(machine.state, state, name);
  assert.ok(
    machine.ram.every((b) => b === 0x55),
    name,
  );
}

test("a state that is cut off, changed or reordered is refused before anything is touched", async () => {
  const good = await saved();
  const places = [
    0,
    3,
    8,
    12,
    13,
    16,
    20,
    24,
    60,
    200,
    500,
    1500,
    good.length >> 1,
    good.length - 25,
    good.length - 13,
    good.length - 1,
  ];
  for (const at of places) await refuses(good.subarray(0, at), "migration/bad-stream", `cut at ${at}`);
  for (const at of places) {
    const bad = good.slice();
    bad[at]! ^= 0x10;
    await refuses(bad, "migration/bad-stream", `changed at ${at}`);
  }
  const sections = cut(good);
  const join = (list: Uint8Array[]) => Uint8Array.from(Buffer.concat([good.subarray(0, 12), ...list]));
  const swapped = sections.slice();
  [swapped[1], swapped[2]] = [swapped[2]!, swapped[1]!];
  await refuses(join(swapped), "migration/bad-stream", "two sections swapped");
  await refuses(join(sections.filter((_, i) => i !== 2)), "migration/bad-stream", "a section missing");
  await refuses(join([...sections.slice(0, 2), ...sections.slice(1)]), "migration/bad-stream", "a section doubled");
  await refuses(join(sections.slice(0, -1)), "migration/bad-stream", "no end");
  await refuses(join(sections.slice(1)), "migration/bad-stream", "no head");
});

/** The sections of a stream. */
function cut(bytes: Uint8Array): Uint8Array[] {
  const out: Uint8Array[] = [];
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let at = 12; at < bytes.length; ) {
    const size = 12 + view.getUint32(at + 4, true);
    out.push(bytes.subarray(at, at + size));
    at += size;
  }
  return out;
}

/** A section with a right checksum. */
function section(tag: string, payload: Uint8Array): Uint8Array {
  const whole = new Uint8Array(12 + payload.length);
  whole.set(new TextEncoder().encode(tag));
  const view = new DataView(whole.buffer);
  view.setUint32(4, payload.length, true);
  view.setUint32(8, crc32(payload, crc32(whole.subarray(0, 8))), true);
  whole.set(payload, 12);
  return whole;
}

/** A stream of these sections, whole and with right checksums. */
function forged(sections: Uint8Array[]): Uint8Array {
  const end = new Uint8Array(8);
  const sum = sections.reduce((s, x) => crc32(x.subarray(8, 12), s), 0);
  new DataView(end.buffer).setUint32(0, sections.length, true);
  new DataView(end.buffer).setUint32(4, sum, true);
  const head = new Uint8Array(12);
  head.set(new TextEncoder().encode("TANDEMVM"));
  head[8] = 1;
  return Uint8Array.from(Buffer.concat([head, ...sections, section("END ", end)]));
}

test("a state with right checksums that lies is refused before anything is touched", async () => {
  const good = cut(await saved()).slice(0, -1);
  const ram = (block: number, first: number, pages: number, rest: number[]) => {
    const p = new Uint8Array(12 + rest.length);
    const v = new DataView(p.buffer);
    v.setUint32(0, block, true);
    v.setUint32(4, first, true);
    v.setUint32(8, pages, true);
    p.set(rest, 12);
    return section("RAM ", p);
  };
  const rows: [name: string, extra: Uint8Array][] = [
    ["block 7", ram(7, 0, 1, [1, 3, 0])],
    ["page 2^32-1", ram(0, 0xffffffff, 1, [1, 3, 0])],
    ["0 pages", ram(0, 0, 0, [])],
    ["2^32-1 pages", ram(0, 0, 0xffffffff, [255])],
    ["bits beyond the pages", ram(0, 0, 1, [2, 3, 0])],
    ["no deflate", ram(0, 0, 1, [1, 0xff, 0xff])],
    ["too few bytes", ram(0, 0, 1, [1, 3, 0])],
    ["a bomb", ram(0, 0, 1, [1, ...(await nodeStreams.deflate(new Uint8Array(2 ** 26)))])],
    ["short", section("RAM ", new Uint8Array(3))],
    ["unknown section", section("WHAT", new Uint8Array(3))],
    ["a part too many", section("PART", encodeState(null))],
    ["a part that is no value", section("PART", Uint8Array.of(99))],
  ];
  for (const [name, extra] of rows) await refuses(forged([...good, extra]), "migration/bad-stream", name);
  await refuses(forged(good.slice(0, -1)), "migration/bad-stream", "a part too few");
  await refuses(await saved(), "migration/mismatch", "another machine", new FakeMachine(6));
});

test("differences are named", () => {
  assert.equal(difference({ a: { b: 1 } }, { a: { b: 2 } }, ""), "a.b is 1 there and 2 here");
  assert.equal(difference(["x", "y"], ["x"], "devices"), "devices[1] is y there and nothing here");
  assert.equal(difference({ a: 1 }, { a: 1 }, ""), undefined);
});

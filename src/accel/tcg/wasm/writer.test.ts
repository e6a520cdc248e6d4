import assert from "node:assert/strict";
import { test } from "node:test";
import { type ValType, wasmOp, wasmOps } from "./opcodes.js";
import { printWasm } from "./print.js";
import { ByteWriter, FunctionWriter, ModuleWriter } from "./writer.js";

const bytesOf = (f: (w: ByteWriter) => void): number[] => {
  const w = new ByteWriter();
  f(w);
  return [...w.slice()];
};

/** WebAssembly Core §5.2.2; the values are DWARF 4 appendix C's and the borders. */
const UNSIGNED: [number, number[]][] = [
  [0, [0]],
  [2, [2]],
  [127, [0x7f]],
  [128, [0x80, 1]],
  [129, [0x81, 1]],
  [12857, [0xb9, 0x64]],
  [624485, [0xe5, 0x8e, 0x26]],
  [0xffffffff, [0xff, 0xff, 0xff, 0xff, 0x0f]],
];
for (const [v, bytes] of UNSIGNED)
  test(`u32 ${v}`, () =>
    assert.deepEqual(
      bytesOf((w) => w.u32(v)),
      bytes,
    ));
const SIGNED: [number, number[]][] = [
  [0, [0]],
  [2, [2]],
  [-2, [0x7e]],
  [63, [0x3f]],
  [64, [0xc0, 0]],
  [-64, [0x40]],
  [-65, [0xbf, 0x7f]],
  [127, [0xff, 0]],
  [-127, [0x81, 0x7f]],
  [128, [0x80, 1]],
  [-128, [0x80, 0x7f]],
  [0x7fffffff, [0xff, 0xff, 0xff, 0xff, 7]],
  [-0x80000000, [0x80, 0x80, 0x80, 0x80, 0x78]],
];
for (const [v, bytes] of SIGNED)
  test(`s32 and s64 ${v}`, () => {
    assert.deepEqual(
      bytesOf((w) => w.s32(v)),
      bytes,
    );
    assert.deepEqual(
      bytesOf((w) => w.s64(v, v >> 31)),
      bytes,
    );
  });

/** i64.const as the engine reads it. */
function constant(lo: number, hi: number): bigint {
  const w = new FunctionWriter([]);
  w.i64(lo, hi);
  const m = new ModuleWriter(1, false, false);
  m.add({ params: [], results: ["i64"] }, w.finish(), "f");
  const i = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), {
    env: { memory: new WebAssembly.Memory({ initial: 1, maximum: 1 }) },
  });
  return (i.exports.f as () => bigint)();
}

test("64-bit constants from halves", () => {
  const halves = [
    0, 1, -1, 63, 64, -64, -65, 0x7fffffff, -0x80000000, 0x12345678, -0x12345678, 127, 128, 0x2000000, 0x1ffffff, -0x2000000,
  ];
  for (const lo of halves)
    for (const hi of halves)
      assert.equal(constant(lo, hi), BigInt.asIntN(64, (BigInt(hi) << 32n) | BigInt(lo >>> 0)), `${hi}:${lo}`);
});

test("64-bit constants from safe integers", () => {
  for (const v of [0, 5, -5, 2 ** 31, -(2 ** 31), 2 ** 32, 2 ** 53 - 1, -(2 ** 53) + 1]) {
    const w = new FunctionWriter([]);
    w.i64n(v);
    assert.match(printWasm(w.finish()).lines[0]!, /^i64.const /);
    const lo = v | 0;
    assert.equal(constant(lo, Math.floor(v / 2 ** 32) | 0), BigInt(v));
  }
});

/** Pushes something of a type. */
function push(w: FunctionWriter, t: ValType): void {
  if (t === "i32") w.i32(1);
  else if (t === "i64") w.i64(2, 3);
  else if (t === "f32") w.f32(1.5);
  else if (t === "f64") w.f64(-2.5);
  else w.v128(Array.from({ length: 16 }, (_, k) => k));
}

test("every instruction of the table validates with its declared operands and result", () => {
  for (const op of wasmOps()) {
    const w = new FunctionWriter([]);
    for (const p of op.params) push(w, p);
    w.op(op.name, op.imm === "mem" ? 0x12345 : 0);
    const m = new ModuleWriter(1, false, false);
    m.add({ params: [], results: op.result === "none" ? [] : [op.result] }, w.finish(), "f");
    assert.ok(WebAssembly.validate(m.finish()), op.name);
  }
});

test("a body prints as it was written", () => {
  const w = new FunctionWriter(["i32", "i64"]);
  const x = w.local("i64");
  const y = w.local("v128");
  const out = w.block();
  const again = w.loop();
  w.get(0);
  w.op("i32.eqz");
  w.brIf(out);
  w.get(1);
  w.i64(-2, -1);
  w.op("i64.add");
  w.tee(x);
  w.op("i32.wrap_i64");
  w.if("i32");
  w.i32(-300);
  w.else();
  w.i32(7);
  w.end();
  w.op("i64.load8_u", 0x744);
  w.drop();
  w.get(y);
  w.op("i8x16.extract_lane_u", 15);
  w.drop();
  w.get(0);
  w.brTable([out, again], out);
  w.end();
  w.end();
  w.v128(new Uint8Array(16).fill(0xab));
  w.get(y);
  w.shuffle(Array.from({ length: 16 }, (_, k) => 31 - k));
  w.op("i16x8.extmul_low_i8x16_u");
  w.set(y);
  w.f64(0.5);
  w.drop();
  w.callIndirect(3);
  w.unreachable();
  const p = printWasm(w.finish());
  assert.deepEqual(p.locals, ["i64 x 1", "v128 x 1"]);
  assert.deepEqual(p.lines, [
    "block",
    "  loop",
    "    local.get 0",
    "    i32.eqz",
    "    br_if 1",
    "    local.get 1",
    "    i64.const -2",
    "    i64.add",
    "    local.tee 2",
    "    i32.wrap_i64",
    "    if i32",
    "      i32.const -0x12c",
    "    else",
    "      i32.const 7",
    "    end",
    "    i64.load8_u offset=0x744",
    "    drop",
    "    local.get 3",
    "    i8x16.extract_lane_u 15",
    "    drop",
    "    local.get 0",
    "    br_table 1 0 else 1",
    "  end",
    "end",
    "v128.const abababababababababababababababab",
    "local.get 3",
    "i8x16.shuffle 31 30 29 28 27 26 25 24 23 22 21 20 19 18 17 16",
    "i16x8.extmul_low_i8x16_u",
    "local.set 3",
    "f64.const 0.5",
    "drop",
    "call_indirect type 3",
    "unreachable",
  ]);
});

test("types are shared, imports come first, memory is what the module says", () => {
  const m = new ModuleWriter(3, true, true);
  const t = { params: ["i32"] as ValType[], results: ["i32"] as ValType[] };
  assert.equal(m.type(t), m.type({ params: ["i32"], results: ["i32"] }));
  const f = m.import("host", "f", t);
  const w = new FunctionWriter(["i32"]);
  w.get(0);
  w.call(f);
  assert.equal(m.add(t, w.finish(), "g"), 1);
  const module = new WebAssembly.Module(m.finish());
  assert.deepEqual(
    WebAssembly.Module.imports(module).map((i) => `${i.module}.${i.name}:${i.kind}`),
    ["host.f:function", "env.memory:memory", "env.table:table"],
  );
  assert.deepEqual(WebAssembly.Module.exports(module), [{ name: "g", kind: "function" }]);
});

test("names that are not in the table are refused", () =>
  assert.throws(() => wasmOp("i32.load64"), /no WebAssembly instruction/));

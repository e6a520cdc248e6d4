import assert from "node:assert/strict";
import { test } from "node:test";
import { VALTYPE, type ValType } from "../wasm/opcodes.js";
import { printWasm } from "../wasm/print.js";
import { FunctionWriter, ModuleWriter } from "../wasm/writer.js";
import { emitExpr, exprInputs, type Operands, parseExpr } from "./expr.js";
import { OPS } from "./ops.js";

/** Operands as parameters: a b c (i64), va vb vc (v128), imm (i64). */
function operandsOf(w: FunctionWriter): Operands {
  const slot = { a: 0, b: 1, c: 2 };
  return {
    i64: (o) => w.get(slot[o]),
    i32: (o) => {
      w.get(slot[o]);
      w.op("i32.wrap_i64");
    },
    v128: (o) => w.get(3 + slot[o]),
    imm64: () => w.get(6),
    imm32: () => {
      w.get(6);
      w.op("i32.wrap_i64");
    },
  };
}
const PARAMS: ValType[] = ["i64", "i64", "i64", "v128", "v128", "v128", "i64"];

function body(text: string): Uint8Array {
  const w = new FunctionWriter(PARAMS);
  emitExpr(w, parseExpr(text), operandsOf(w));
  return w.finish();
}

/** Runs a scalar expression on i64 operands. */
function evaluate(text: string, a = 0n, b = 0n, c = 0n, imm = 0n): bigint {
  const e = parseExpr(text);
  const w = new FunctionWriter(["i64", "i64", "i64", "i64"]);
  const slot = { a: 0, b: 1, c: 2 };
  emitExpr(w, e, {
    i64: (o) => w.get(slot[o]),
    i32: (o) => {
      w.get(slot[o]);
      w.op("i32.wrap_i64");
    },
    v128: () => assert.fail(),
    imm64: () => w.get(3),
    imm32: () => {
      w.get(3);
      w.op("i32.wrap_i64");
    },
  });
  if (e.type === "i32") w.op("i64.extend_i32_u");
  const m = new ModuleWriter(1, false, false);
  m.add({ params: ["i64", "i64", "i64", "i64"], results: ["i64"] }, w.finish(), "f");
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  const i = new WebAssembly.Instance(new WebAssembly.Module(m.finish()), { env: { memory } });
  return BigInt.asUintN(64, (i.exports.f as (...v: bigint[]) => bigint)(a, b, c, imm));
}

const M64 = (1n << 64n) - 1n;
const VALUES: [string, bigint[], bigint][] = [
  ["i64.add(a, b)", [M64, 2n], 1n],
  ["i64.sub(0L, a)", [1n], M64],
  ["i64.add(a, i64.shl(b, u32(imm32)))", [1n, 3n, 0n, 4n], 49n],
  ["i32.add(a32, b32)", [0xffffffffffffffffn, 1n], 0n],
  ["u32(i64.lt_s(a, b))", [M64, 0n], 1n],
  ["u32(i64.lt_u(a, b))", [M64, 0n], 0n],
  ["s32(a32)", [0x80000000n], 0xffffffff80000000n],
  ["select(a, b, i32.wrap_i64(c))", [7n, 9n, 0n], 9n],
  ["select(a, b, i32.wrap_i64(c))", [7n, 9n, 1n], 7n],
  ["i64.or(i64.and(a, -256L), i64.and(b, 255L))", [0x1234n, 0xffn], 0x12ffn],
  ["i64.and(a, 0xffffL)", [0x12345678n], 0x5678n],
  ["  i64.add( a ,b )  ", [1n, 2n], 3n],
  ["i64.and(a, 0x7fffffffffffffffL)", [M64], M64 >> 1n],
];
for (const [text, args, result] of VALUES)
  test(`${text} of ${args.join(", ")}`, () => assert.equal(evaluate(text, args[0], args[1], args[2], args[3]), result));

const BAD: [string, RegExp][] = [
  ["", /expected a name/],
  ["i64.add(a)", /takes 2 operands/],
  ["i64.add(a, b32)", /operand 1 is i32, wants i64/],
  ["i64.add(a, b", /expected \)/],
  ["i64.add a, b)", /expected \(/],
  ["i64.add(a, b) x", /trailing text/],
  ["i64.frobnicate(a)", /no WebAssembly instruction/],
  ["i64.add(a, )", /expected a name/],
  ["d", /expected \(/],
];
for (const [text, message] of BAD) test(`refused: "${text}"`, () => assert.throws(() => parseExpr(text), message));

test("what an expression reads", () => {
  const names = (t: string) => exprInputs(parseExpr(t)).map((x) => `${x.which}:${x.type}`);
  assert.deepEqual(names("i64.add(a, i64.shl(b, u32(imm32)))"), ["a:i64", "b:i64"]);
  assert.deepEqual(names("i32.add(a32, a32)"), ["a:i64"]);
  assert.deepEqual(names("v128.bitselect(va, vb, vc)"), ["a:v128", "b:v128", "c:v128"]);
  assert.deepEqual(names("vzero"), []);
});

test("every operation of the table is valid WebAssembly of its declared result, and prints", () => {
  for (const op of OPS) {
    if (!op.expr) continue;
    const w = new FunctionWriter(PARAMS);
    emitExpr(w, op.expr, operandsOf(w));
    if (op.expr.type === "i32") w.op("i64.extend_i32_u");
    const m = new ModuleWriter(1, false, false);
    const result: ValType = op.result === "v128" ? "v128" : "i64";
    const code = w.finish();
    m.add({ params: PARAMS, results: [result] }, code, "f");
    assert.ok(WebAssembly.validate(m.finish()), op.name);
    assert.ok(printWasm(code).instructions > 0, op.name);
  }
});

test("operand types are value types of WebAssembly", () => {
  for (const op of OPS) for (const i of op.inputs) assert.ok(i.type in VALTYPE, op.name);
  assert.ok(body("v128.and(va, vb)").length > 3);
});

/**
 * The meaning of an IR value operation, written as a WebAssembly expression: `i64.add(a, b)`. Both tiers lower it from
 * this one text; they differ only in where operands come from.
 *
 * Atoms: `a` `b` `c` (i64 slots), `a32` `b32` `c32` (their low halves as i32), `va` `vb` `vc` (v128 slots), `imm` (i64),
 * `imm32` (i32), `vzero`, integers (`5` is i32, `5L` i64; hexadecimal too). Calls are WebAssembly mnemonics, with lane or
 * shuffle immediates in brackets: `i64x2.extract_lane[1](va)`, `i8x16.shuffle[0,16,...](va, vb)`; `select(x, y, cond)`;
 * `u32(x)` is i64.extend_i32_u and `s32(x)` i64.extend_i32_s.
 */
import { type ValType, wasmOp } from "../wasm/opcodes.js";
import type { FunctionWriter } from "../wasm/writer.js";

export type Operand = "a" | "b" | "c";

/** Where a tier finds the operands: each method leaves one value on the WebAssembly stack. */
export interface Operands {
  i64(which: Operand): void;
  i32(which: Operand): void;
  v128(which: Operand): void;
  imm64(): void;
  imm32(): void;
}

export type Expr =
  | { kind: "slot"; which: Operand; type: "i64" | "i32" | "v128" }
  | { kind: "imm"; type: "i64" | "i32" }
  | { kind: "const"; type: "i64" | "i32"; value: bigint }
  | { kind: "vzero"; type: "v128" }
  | { kind: "shuffle"; type: "v128"; lanes: number[]; args: Expr[] }
  | { kind: "select"; type: ValType; args: Expr[] }
  | { kind: "op"; type: ValType; op: string; lane: number; args: Expr[] };

/** Parses an expression. @throws Error on a mistake in a table (a bug of ours) */
export function parseExpr(text: string): Expr {
  let pos = 0;
  const fail = (why: string): never => {
    throw new Error(`IR expression "${text}" at ${pos}: ${why}`);
  };
  const skip = () => {
    while (text[pos] === " ") pos++;
  };
  const expect = (c: string) => {
    skip();
    if (text[pos] !== c) fail(`expected ${c}`);
    pos++;
  };
  const parse = (): Expr => {
    skip();
    const word = /^[A-Za-z0-9_.-]+/.exec(text.slice(pos))?.[0] ?? fail("expected a name");
    pos += word.length;
    const number = /^(-?(?:0x[0-9a-f]+|\d+))(L?)$/.exec(word);
    if (number) {
      const t = number[1]!;
      const value = t.startsWith("-") ? -BigInt(t.slice(1)) : BigInt(t);
      return { kind: "const", type: number[2] ? "i64" : "i32", value };
    }
    switch (word) {
      case "a":
      case "b":
      case "c":
        return { kind: "slot", which: word, type: "i64" };
      case "a32":
      case "b32":
      case "c32":
        return { kind: "slot", which: word[0] as Operand, type: "i32" };
      case "va":
      case "vb":
      case "vc":
        return { kind: "slot", which: word[1] as Operand, type: "v128" };
      case "imm":
        return { kind: "imm", type: "i64" };
      case "imm32":
        return { kind: "imm", type: "i32" };
      case "vzero":
        return { kind: "vzero", type: "v128" };
    }
    let immediates: number[] = [];
    if (text[pos] === "[") {
      const close = text.indexOf("]", pos);
      immediates = text.slice(pos + 1, close).split(",").map(Number);
      pos = close + 1;
    }
    const args: Expr[] = [];
    expect("(");
    for (;;) {
      args.push(parse());
      skip();
      if (text[pos] === ",") {
        pos++;
        continue;
      }
      break;
    }
    expect(")");
    if (word === "select") return { kind: "select", type: args[0]!.type, args };
    if (word === "i8x16.shuffle") return { kind: "shuffle", type: "v128", lanes: immediates, args };
    const name = word === "u32" ? "i64.extend_i32_u" : word === "s32" ? "i64.extend_i32_s" : word;
    const op = wasmOp(name);
    if (op.params.length !== args.length) fail(`${name} takes ${op.params.length} operands`);
    for (const [i, p] of op.params.entries()) if (args[i]!.type !== p) fail(`${name} operand ${i} is ${args[i]!.type}, wants ${p}`);
    return { kind: "op", type: op.result, op: name, lane: immediates[0] ?? 0, args };
  };
  const e = parse();
  skip();
  if (pos !== text.length) fail("trailing text");
  return e;
}

/** Emits the expression as stack code. */
export function emitExpr(w: FunctionWriter, e: Expr, operands: Operands): void {
  switch (e.kind) {
    case "slot":
      if (e.type === "i64") operands.i64(e.which);
      else if (e.type === "i32") operands.i32(e.which);
      else operands.v128(e.which);
      return;
    case "imm":
      if (e.type === "i64") operands.imm64();
      else operands.imm32();
      return;
    case "const":
      if (e.type === "i32") w.i32(Number(BigInt.asIntN(32, e.value)));
      else w.i64(Number(BigInt.asIntN(32, e.value)), Number(BigInt.asIntN(32, e.value >> 32n)));
      return;
    case "vzero":
      w.v128(new Uint8Array(16));
      return;
    case "shuffle":
      for (const x of e.args) emitExpr(w, x, operands);
      w.shuffle(e.lanes);
      return;
    case "select":
      for (const x of e.args) emitExpr(w, x, operands);
      w.select();
      return;
    case "op":
      for (const x of e.args) emitExpr(w, x, operands);
      w.op(e.op, e.lane);
      return;
  }
}

/** The operands an expression reads, with their types. */
export function exprInputs(e: Expr): { which: Operand; type: "i64" | "v128" }[] {
  const seen = new Map<string, { which: Operand; type: "i64" | "v128" }>();
  const walk = (x: Expr) => {
    if (x.kind === "slot") seen.set(x.which, { which: x.which, type: x.type === "v128" ? "v128" : "i64" });
    if ("args" in x) for (const y of x.args) walk(y);
  };
  walk(e);
  return [...seen.values()];
}

/**
 * Scalar arithmetic with the host's operations against that by software: results, FR, FI, FPRF and sticky bits must agree.
 * FPSCR.NI, which changes nothing else, keeps the helper from the fast way.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { Random } from "../../../testkit/ppc/random.js";
import { PpcRig } from "../../../testkit/ppc-rig.js";
import * as L from "./layout.js";

const NI = 4n;
const OPS = ["add", "sub", "mul", "div", "sqrt", "madd", "msub", "nmadd", "nmsub"];
const CASES = 4000;

test("the fast way gives what software gives", () => {
  const rig = new PpcRig({ tier: 0 });
  const v = rig.ram.view;
  const at = rig.env + L.SCRATCH;
  const helper = (rig.engine.runtime as unknown as { h_fp(a: bigint, b: bigint, imm: number): bigint }).h_fp;
  const r = new Random(11);
  const number = (): bigint => {
    const exponent = r.pick([1023, 1023 + r.below(60) - 30, 1023 + r.below(300) - 150, r.below(2048)]);
    const fraction = r.pick([
      0n,
      1n,
      (1n << 52n) - 1n,
      r.u64() & ((1n << 52n) - 1n),
      (r.u64() & 0xffffffn) << 28n,
      1n << BigInt(r.below(52)),
    ]);
    return (BigInt(r.below(2)) << 63n) | (BigInt(exponent) << 52n) | fraction;
  };
  const run = (op: number, operands: bigint[], fpscr: bigint): [bigint, bigint] => {
    v.setBigUint64(rig.env + L.FPSCR, fpscr, true);
    for (const [i, x] of operands.entries()) v.setBigUint64(at + i * 16, x, true);
    helper(BigInt(at), BigInt(at + 16), op);
    return [v.getBigUint64(at, true), v.getBigUint64(rig.env + L.FPSCR, true) & ~NI];
  };
  for (const single of [0, 0x20])
    for (const [op, name] of OPS.entries())
      for (let n = 0; n < CASES; n++) {
        const a = number();
        const c = number();
        // Sums that nearly cancel.
        const b = r.below(3) ? number() : a ^ (r.u64() & 7n) ^ (BigInt(r.below(2)) << 63n);
        const fast = run(op | single, [a, b, c], 0n);
        const exact = run(op | single, [a, b, c], NI);
        const what = `${name}${single ? "s" : ""} ${[a, b, c].map((x) => x.toString(16)).join(" ")}`;
        assert.deepEqual(
          fast.map((x) => x.toString(16)),
          exact.map((x) => x.toString(16)),
          what,
        );
      }
});

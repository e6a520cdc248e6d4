/** Rotates and shifts (Power ISA 3.0B I 3.3.14). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { gpr, type PpcTranslator } from "../translator.js";

/** MASK(mb, me) of 64 bits, as halves. */
function mask(mb: number, me: number): [number, number] {
  const from = (1n << BigInt(64 - mb)) - 1n;
  const to = BigInt.asUintN(64, -1n << BigInt(63 - me));
  const m = mb <= me ? from & to : from | to;
  return [Number(BigInt.asIntN(32, m)), Number(BigInt.asIntN(32, m >> 32n))];
}

/** The low word rotated left, in both halves when the mask reaches into the upper one. */
function rotateWord(t: PpcTranslator, rs: number, amount: number | { slot: number }, both: boolean): number {
  const r = typeof amount === "number" ? t.t("rotli32", gpr(rs), NONE, amount) : t.t("rotl32", gpr(rs), amount.slot);
  return both ? t.t("or", r, t.t("shli", r, NONE, 32)) : r;
}

const insert = (t: PpcTranslator, ra: number, value: number, m: [number, number]) => {
  const low = t.mask(value, m[0], m[1]);
  t.op("or", gpr(ra), low, t.mask(gpr(ra), ~m[0], ~m[1]));
};

const R = section("Power ISA I 3.3.14");
R("rlwinm", "010101 rs:5 ra:5 sh:5 mb:5 me:5 rc:1", (t, f) => {
  const m = mask(f.mb + 32, f.me + 32);
  const r = f.sh === 0 && f.mb <= f.me ? gpr(f.rs) : rotateWord(t, f.rs, f.sh, f.mb > f.me);
  t.mask(r, m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rlwnm", "010111 rs:5 ra:5 rb:5 mb:5 me:5 rc:1", (t, f) => {
  const m = mask(f.mb + 32, f.me + 32);
  t.mask(rotateWord(t, f.rs, { slot: gpr(f.rb) }, f.mb > f.me), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rlwimi", "010100 rs:5 ra:5 sh:5 mb:5 me:5 rc:1", (t, f) => {
  insert(t, f.ra, rotateWord(t, f.rs, f.sh, f.mb > f.me), mask(f.mb + 32, f.me + 32));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldicl", "011110 rs:5 ra:5 sh:5 mb:5 mb.5:1 000 sh.5:1 rc:1", (t, f) => {
  const m = mask(f.mb, 63);
  if (f.sh && f.mb === 64 - f.sh) t.op("shri", gpr(f.ra), gpr(f.rs), NONE, f.mb);
  else t.mask(f.sh ? t.t("rotli", gpr(f.rs), NONE, f.sh) : gpr(f.rs), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldicr", "011110 rs:5 ra:5 sh:5 me:5 me.5:1 001 sh.5:1 rc:1", (t, f) => {
  const m = mask(0, f.me);
  if (f.me === 63 - f.sh) t.op("shli", gpr(f.ra), gpr(f.rs), NONE, f.sh);
  else t.mask(t.t("rotli", gpr(f.rs), NONE, f.sh), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldic", "011110 rs:5 ra:5 sh:5 mb:5 mb.5:1 010 sh.5:1 rc:1", (t, f) => {
  const m = mask(f.mb, 63 - f.sh);
  t.mask(t.t("rotli", gpr(f.rs), NONE, f.sh), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldimi", "011110 rs:5 ra:5 sh:5 mb:5 mb.5:1 011 sh.5:1 rc:1", (t, f) => {
  insert(t, f.ra, t.t("rotli", gpr(f.rs), NONE, f.sh), mask(f.mb, 63 - f.sh));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldcl", "011110 rs:5 ra:5 rb:5 mb:5 mb.5:1 1000 rc:1", (t, f) => {
  const m = mask(f.mb, 63);
  t.mask(t.t("rotl", gpr(f.rs), gpr(f.rb)), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});
R("rldcr", "011110 rs:5 ra:5 rb:5 me:5 me.5:1 1001 rc:1", (t, f) => {
  const m = mask(0, f.me);
  t.mask(t.t("rotl", gpr(f.rs), gpr(f.rb)), m[0], m[1], gpr(f.ra));
  if (f.rc) t.record(gpr(f.ra));
});

R("slw", "011111 rs:5 ra:5 rb:5 #24:10 rc:1", (t, f) => {
  t.op("ext32u", gpr(f.ra), t.t("shl", gpr(f.rs), gpr(f.rb)));
  if (f.rc) t.record(gpr(f.ra));
});
R("srw", "011111 rs:5 ra:5 rb:5 #536:10 rc:1", (t, f) => {
  t.op("shr", gpr(f.ra), t.t("ext32u", gpr(f.rs)), gpr(f.rb));
  if (f.rc) t.record(gpr(f.ra));
});
for (const [name, op, what] of [
  ["sld", 27, "shl"],
  ["srd", 539, "shr"],
] as const)
  R(name, `011111 rs:5 ra:5 rb:5 #${op}:10 rc:1`, (t, f) => {
    // A count of 64 or more leaves nothing.
    const keep = t.t("addi", t.t("bit", gpr(f.rb), NONE, 6), NONE, -1);
    t.op("and", gpr(f.ra), t.t(what, gpr(f.rs), gpr(f.rb)), keep);
    if (f.rc) t.record(gpr(f.ra));
  });

/** ra = value >> amount, CA = whether a one was shifted out of a negative number. */
function shiftRightAlgebraic(t: PpcTranslator, ra: number, value: number, amount: number, lost: number, rc: number): void {
  const r = t.t("sar", value, amount);
  let out = t.t("setne", t.t("shl", r, amount), value);
  if (lost >= 0) out = t.t("or", out, lost);
  t.op("and", L.CA, out, t.t("shri", value, NONE, 63));
  if (t.isa300) t.mov(L.CA32, L.CA);
  t.mov(gpr(ra), r);
  if (rc) t.record(gpr(ra));
}
R("sraw", "011111 rs:5 ra:5 rb:5 #792:10 rc:1", (t, f) =>
  shiftRightAlgebraic(t, f.ra, t.t("ext32s", gpr(f.rs)), t.t("andi", gpr(f.rb), NONE, 63), -1, f.rc),
);
R("srawi", "011111 rs:5 ra:5 sh:5 #824:10 rc:1", (t, f) =>
  shiftRightAlgebraic(t, f.ra, t.t("ext32s", gpr(f.rs)), t.const(f.sh), -1, f.rc),
);
R("srad", "011111 rs:5 ra:5 rb:5 #794:10 rc:1", (t, f) => {
  const big = t.t("bit", gpr(f.rb), NONE, 6);
  const amount = t.select(t.const(63), t.t("andi", gpr(f.rb), NONE, 63), big);
  shiftRightAlgebraic(t, f.ra, t.t("mov", gpr(f.rs)), amount, big, f.rc);
});
R("sradi", "011111 rs:5 ra:5 sh:5 #413:9 sh.5:1 rc:1", (t, f) =>
  shiftRightAlgebraic(t, f.ra, t.t("mov", gpr(f.rs)), t.const(f.sh), -1, f.rc),
);
R(
  "extswsli",
  "011111 rs:5 ra:5 sh:5 #445:9 sh.5:1 rc:1",
  (t, f) => {
    t.op("shli", gpr(f.ra), t.t("ext32s", gpr(f.rs)), NONE, f.sh);
    if (f.rc) t.record(gpr(f.ra));
  },
  { isa300: true },
);

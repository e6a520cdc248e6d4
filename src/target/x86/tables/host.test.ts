/** Every user-level row of the opcode tables in both tiers against the host's own processor, with random operands. */
import assert from "node:assert/strict";
import test from "node:test";
import { type CpuState, describe, differences } from "../../../../testkit/cpu-state.js";
import { hostCpu, hostFeatures } from "../../../../testkit/host-cpu.js";
import { comparable, definedFlags, undefinedResult } from "../../../../testkit/insn-compare.js";
import { encode, Random, randomState, signalOf } from "../../../../testkit/insn-random.js";
import { InsnRig } from "../../../../testkit/insn-rig.js";
import { rows } from "../opcodes.js";

const ENCODINGS = 3;
const STATES = 6;
const BUS_ERROR = 7;
const SEGMENT_VIOLATION = 11;

const host = hostCpu();
const features = host ? hostFeatures() : new Set<string>();
const enough = ["sse4_1", "sse4_2", "ssse3", "aes", "pclmulqdq", "movbe", "popcnt", "abm"].every((f) => features.has(f));
const hex = (bytes: ArrayLike<number>) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");

const has64 = (code: readonly number[]) => {
  const first = code.find((b) => b !== 0x66 && b !== 0xf2 && b !== 0xf3)!;
  return first >= 0x40 && first < 0x50;
};

/** In 32-bit code: rows that mean the same there, without REX, with the upper register halves zero. */
function compare(bits: 64 | 32, encodings: number, seed: number): void {
  const rigs = [new InsnRig(0, "max", bits), new InsnRig(1, "max", bits)];
  const r = new Random(seed);
  const wrong: string[] = [];
  for (const row of rows.filter(comparable)) {
    if (bits === 32 && /^(PUSH|POP|LEAVE|MOVSXD)$/.test(row.mnemonic)) continue;
    const list: CpuState[] = [];
    for (let e = 0; e < encodings; e++) {
      const code = encode(row, r);
      if (!code || (bits === 32 && has64(code))) continue;
      for (let k = 0; k < STATES; k++) {
        const s = randomState(r);
        if (undefinedResult(row, code, Number(s.gpr(1) & 0xffn))) continue;
        s.setCode(code);
        if (bits === 32) for (let n = 0; n < 16; n++) s.setGpr(n, n < 8 ? s.gpr(n) & 0xffffffffn : 0n);
        list.push(s);
      }
    }
    const want = host!(list);
    for (const rig of rigs)
      for (const [i, start] of list.entries()) {
        const w = want[i]!;
        if (w.trap === BUS_ERROR) w.trap = SEGMENT_VIOLATION;
        // A bit offset or a stack pointer from a register leaves the pages that the host program has.
        if (w.trap === SEGMENT_VIOLATION && /^(BT|LEAVE)/.test(row.mnemonic)) continue;
        const code = Array.from(start.bytes.subarray(1, 1 + start.bytes[0]!));
        const got = rig.run(start);
        const vector = got.trap;
        got.trap = signalOf(vector);
        const d = differences(w, got, { flags: definedFlags(row, code, Number(start.gpr(1) & 0xffn)) });
        if (!d.length) continue;
        wrong.push(`${row.text} [${row.key}] tier ${rig.tier}: ${hex(code)}, vector ${vector}\n  ${d.join("\n  ")}\n  ${describe(start)}`);
        break;
      }
  }
  assert.equal(wrong.length, 0, wrong.slice(0, 10).join("\n"));
}

test("64-bit instructions as on the host's processor", { skip: !host || !enough }, () => compare(64, ENCODINGS, 20261123));
test("the same in 32-bit code", { skip: !host || !enough }, () => compare(32, ENCODINGS, 7));

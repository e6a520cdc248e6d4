/** The user-level rows of the opcode tables on KVM, as a reference for TCG: the same states in, the same states out. */
import assert from "node:assert/strict";
import { type CpuState, describe, differences } from "../../../../testkit/cpu-state.js";
import { hostFeatures } from "../../../../testkit/host-cpu.js";
import { comparable, definedFlags, undefinedResult } from "../../../../testkit/insn-compare.js";
import { encode, Random, randomState } from "../../../../testkit/insn-random.js";
import { InsnRig } from "../../../../testkit/insn-rig.js";
import { kvmTest } from "../../../../testkit/kvm.js";
import { KvmRig } from "../../../../testkit/kvm-rig.js";
import { rows } from "../opcodes.js";

const STATES = 2;
/** #PF of a guest with page tables is #GP or nothing where there are none: such accesses are left out. */
const PAGE_FAULT = 14;
const INVALID_OPCODE = 6;
const GENERAL_PROTECTION = 13;
const hex = (bytes: ArrayLike<number>) => Array.from(bytes, (b) => b.toString(16).padStart(2, "0")).join(" ");

kvmTest("64-bit instructions of TCG as on KVM", (t, kvm) => {
  const features = hostFeatures();
  if (!["sse4_1", "sse4_2", "ssse3", "aes", "pclmulqdq", "movbe", "popcnt", "abm"].every((f) => features.has(f)))
    return t.skip("the host's processor lacks instructions of the tables");
  const rig = new KvmRig(kvm);
  t.after(() => rig.dispose());
  const tcg = new InsnRig(0, "max", 64);
  const r = new Random(20261128);
  const wrong: string[] = [];
  let compared = 0;
  for (const row of rows.filter(comparable)) {
    const code = encode(row, r);
    if (!code) continue;
    for (let k = 0; k < STATES; k++) {
      const start: CpuState = randomState(r);
      if (undefinedResult(row, code, Number(start.gpr(1) & 0xffn))) continue;
      start.setCode(code);
      const want = rig.run(start);
      const got = tcg.run(start);
      if (!want || want.trap === PAGE_FAULT) continue;
      // A bit offset or a stack pointer from a register leaves the pages that the guests have.
      if (want.trap && /^(BT|LEAVE)/.test(row.mnemonic)) continue;
      // Without hardware, KVM's emulator looks at what faults, and calls a misaligned vector operand an invalid opcode.
      if (!kvm.hardware && want.trap === INVALID_OPCODE && got.trap === GENERAL_PROTECTION) continue;
      compared++;
      // Delivery is another stack and another ring: the vector is what counts.
      const flags = definedFlags(row, code, Number(start.gpr(1) & 0xffn)) & ~0x200;
      const d =
        want.trap || got.trap
          ? want.trap === got.trap ? [] : [`vector ${got.trap}, on KVM ${want.trap}`]
          : differences(want, got, { flags });
      if (d.length === 0) continue;
      wrong.push(`${row.text} [${row.key}]: ${hex(code)}\n  ${d.join("\n  ")}\n  ${describe(start)}`);
      break;
    }
  }
  assert.deepEqual(wrong.slice(0, 10), [], `${wrong.length} rows differ`);
  assert.ok(compared > 500, `${compared} states compared`);
});

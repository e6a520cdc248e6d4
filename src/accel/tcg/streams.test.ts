/** Random programs: tier 0 and tier 1 must agree on registers, flags, memory, exceptions and instruction counts. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CODE_AT, DATA_AT, difference, type Mode, ProgramRig } from "../../../testkit/program-rig.js";
import {
  DATA_MIDDLE,
  type Kind,
  type ProgramOptions,
  type RandomProgram,
  randomProgram,
} from "../../../testkit/random-program.js";
import * as L from "../../target/x86/layout.js";

/** Other seeds: TANDEM_SEED=first,count. */
const [firstSeed = 1, seedCount = 40] = (process.env.TANDEM_SEED ?? "").split(",").filter(Boolean).map(Number);

/** Guest instructions of one program at most. */
const LIMIT = 200_000;

function rigs(mode: Mode): [ProgramRig, ProgramRig] {
  return [new ProgramRig({ mode, tier: 0, paging: true }), new ProgramRig({ mode, tier: 1, threshold: 2, paging: true })];
}

function prepare(rig: ProgramRig, p: RandomProgram): void {
  rig.resetState();
  rig.events.length = 0;
  rig.ram.u8.fill(0, rig.base + 0x6000, rig.base + 0x10000);
  rig.load(DATA_AT, p.data);
  rig.load(CODE_AT, p.code);
  rig.engine.flushAll();
  for (const [n, v] of p.gpr.entries()) if (n !== 4) rig.setGpr(n, v);
  rig.setGpr(3, BigInt(DATA_MIDDLE));
  rig.ram.u8.set(p.vectors, rig.engine.envOf(0) + L.XMM);
}

function agree(pair: [ProgramRig, ProgramRig], o: ProgramOptions): number {
  const p = randomProgram(o);
  const [a, b] = pair;
  prepare(a, p);
  prepare(b, p);
  const sa = a.run(LIMIT, 10_007);
  const sb = b.run(LIMIT, 997);
  // A stray jump made it endless: the tiers stop at different places.
  if (sa.end === "limit" && sb.end === "limit") return 0;
  const d = difference(a, sa, b, sb);
  if (d) assert.fail(`${JSON.stringify(o)}: tier 0 / tier 1\n${d}\n${p.listing()}`);
  return sa.insns;
}

const CASES: [string, readonly Kind[], readonly Mode[]][] = [
  ["integer", ["integer"], [64, 32, 16]],
  ["vector", ["integer", "vector"], [64, 32]],
  ["x87", ["integer", "x87"], [64, 32]],
];
for (const [name, kinds, modes] of CASES)
  for (const mode of modes)
    test(`${name} streams, ${mode}-bit`, () => {
      const pair = rigs(mode);
      for (let n = 0; n < seedCount; n++)
        agree(pair, { seed: firstSeed + n, mode, kinds, length: 4 + ((firstSeed + n) % 40), iterations: 60 });
      assert.ok(pair[1].engine.tier1.stats.regions > 0);
    });

/** Pages around the data that are taken away, so that a pointer that moves faults somewhere in a hot region. */
const AROUND_DATA = [0xb, 0xe, 0xf];
for (const [mode, kinds, stride] of [
  [64, ["integer"], 101],
  [64, ["integer", "vector", "x87"], -112],
  [32, ["integer"], -77],
  [32, ["integer", "vector", "x87"], 112],
] as const)
  test(`page faults in hot code, ${kinds.join(" and ")}, ${mode}-bit`, () => {
    const pair = rigs(mode);
    for (const rig of pair) for (const page of AROUND_DATA) rig.mapPage(page, 0);
    let faults = 0;
    for (let n = 0; n < seedCount; n++) {
      agree(pair, { seed: firstSeed + n, mode, kinds, length: 8 + (n % 30), iterations: 80, stride });
      faults += pair[0].state("halted", 0).vector === 14 ? 1 : 0;
    }
    assert.ok(faults > 0);
  });

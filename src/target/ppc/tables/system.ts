/** System calls, interrupt returns, MSR and SPRs, translation look-aside control (Power ISA 3.0B I 2.5, II 4, III). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { section } from "../isa.js";
import * as L from "../layout.js";
import { SPRS, type Spr } from "../sprs.js";
import { gpr, type PpcTranslator } from "../translator.js";

/** A helper that may change MSR or translations; the block ends behind it. */
function systemCall(t: PpcTranslator, name: string, a = NONE, b = NONE, imm = 0): void {
  t.call(name, a, b, imm);
  t.jumpNext();
  t.endKind = "system";
}

const SC = section("Power ISA III 3.3.1");
SC("sc", "010001 /14 lev:7 /3 10", (t, f) => {
  if (f.lev === 1 && !t.user) t.call("h_hypercall", t.nextPc());
  else if (f.lev === 0 || t.user) t.call("h_sc", t.nextPc(), NONE, f.lev);
  else return t.program(L.PROGRAM_ILLEGAL);
  t.leave();
});
SC(
  "scv",
  "010001 /14 lev:7 /3 01",
  (t, f) => {
    if (!(t.hflags & L.HF_SCV)) return t.raise(L.V_FACILITY_UNAVAILABLE, 12);
    t.call("h_scv", t.nextPc(), NONE, f.lev);
    t.leave();
  },
  { isa300: true },
);
const RETURN = section("Power ISA III 3.3.1", { privileged: true });
RETURN("rfid", "010011 /5 /5 /5 #18:10 /1", (t) => {
  t.call("h_rfid");
  t.leave();
});
RETURN(
  "rfscv",
  "010011 /5 /5 /5 #82:10 /1",
  (t) => {
    t.call("h_rfscv");
    t.leave();
  },
  { isa300: true },
);
RETURN("hrfid", "010011 /5 /5 /5 #274:10 /1", (t) => t.program(L.PROGRAM_PRIVILEGED));
section("Power ISA II 7.3")("rfebb", "010011 /5 /5 /4 s:1 #146:10 /1");
const SLEEP = section("Power ISA III 3.3.2", { privileged: true });
SLEEP(
  "stop",
  "010011 /5 /5 /5 #370:10 /1",
  (t) => {
    t.call("h_stop", t.nextPc());
    t.leave();
  },
  { isa300: true },
);
for (const [name, op] of [
  ["doze", 402],
  ["nap", 434],
  ["sleep", 466],
  ["rvwinkle", 498],
] as const)
  SLEEP(name, `010011 /5 /5 /5 #${op}:10 /1`, (t) => t.program(L.PROGRAM_PRIVILEGED));

const MSR = section("Power ISA III 4.4.4", { privileged: true });
for (const [name, op] of [
  ["mtmsr", 146],
  ["mtmsrd", 178],
] as const)
  MSR(name, `011111 rs:5 /4 l:1 /5 #${op}:10 /1`, (t, f) => {
    systemCall(t, "h_mtmsr", gpr(f.rs), NONE, f.l | (name === "mtmsr" ? 2 : 0));
  });
MSR("mfmsr", "011111 rt:5 /5 /5 #83:10 /1", (t, f) => t.mov(gpr(f.rt), L.MSR));

/** The register's row if the access is allowed; else what happens instead has been emitted. */
function access(t: PpcTranslator, n: number): Spr | undefined {
  const row = SPRS.get(n);
  if (t.user && n & 0x10) t.program(L.PROGRAM_PRIVILEGED);
  else if (row?.hypervisor) t.program(L.PROGRAM_PRIVILEGED);
  else if (!row || (row.isa300 && !t.isa300)) {
    // Undefined numbers do nothing in supervisor state, but for four.
    if (t.user || n === 0 || n === 4 || n === 5 || n === 6) t.program(L.PROGRAM_ILLEGAL);
  } else return row;
  return undefined;
}
const SPR = section("Power ISA I 3.3.17, III 4.4.5");
SPR("mfspr", "011111 rt:5 spr:5 spr.5:5 #339:10 /1", (t, f) => {
  const row = access(t, f.spr);
  if (!row) return;
  if (row.read) row.read(t, gpr(f.rt));
  else t.program(L.PROGRAM_ILLEGAL);
});
SPR("mftb", "011111 rt:5 tbr:5 tbr.5:5 #371:10 /1", (t, f) => {
  const row = access(t, f.tbr);
  if (!row) return;
  if (row.read) row.read(t, gpr(f.rt));
  else t.program(L.PROGRAM_ILLEGAL);
});
SPR("mtspr", "011111 rs:5 spr:5 spr.5:5 #467:10 /1", (t, f) => {
  const row = access(t, f.spr);
  if (!row) return;
  if (!row.write) return t.program(L.PROGRAM_ILLEGAL);
  row.write(t, gpr(f.rs));
  if (t.b.tier0Only) {
    t.jumpNext();
    t.endKind = "system";
  }
});

const SLB = section("Power ISA III 5.9.3", { privileged: true });
SLB("slbie", "011111 /5 /5 rb:5 #434:10 /1", (t, f) => systemCall(t, "h_slbie", gpr(f.rb)));
SLB("slbieg", "011111 rs:5 /5 rb:5 #466:10 /1", (t, f) => systemCall(t, "h_slbie", gpr(f.rb)), { isa300: true });
SLB("slbia", "011111 /2 ih:3 /5 /5 #498:10 /1", (t, f) => systemCall(t, "h_slbia", NONE, NONE, f.ih));
SLB("slbmte", "011111 rs:5 /5 rb:5 #402:10 /1", (t, f) => systemCall(t, "h_slbmte", gpr(f.rb), gpr(f.rs)));
SLB("slbmfev", "011111 rt:5 /4 l:1 rb:5 #851:10 /1", (t, f) => void t.callPure("h_slbmfev", gpr(f.rb), NONE, 0, gpr(f.rt)));
SLB("slbmfee", "011111 rt:5 /4 l:1 rb:5 #915:10 /1", (t, f) => void t.callPure("h_slbmfee", gpr(f.rb), NONE, 0, gpr(f.rt)));
SLB("slbfee.", "011111 rt:5 /5 rb:5 #979:10 1", (t, f) => {
  const v = t.callPure("h_slbfee", gpr(f.rb));
  const found = t.t("setnei", v, NONE, -1);
  t.select(v, t.const(0), found, gpr(f.rt));
  t.setField(0, t.t("or", t.t("shli", found, NONE, 1), L.SO));
});
SLB("slbsync", "011111 /5 /5 /5 #338:10 /1", () => {}, { isa300: true });
// In a partition only with LPCR.GTSE (radix).
SLB("tlbie", "011111 rs:5 /1 ric:2 prs:1 r:1 rb:5 #306:10 /1", (t, f) =>
  systemCall(t, "h_tlbie", gpr(f.rb), gpr(f.rs), f.ric | (f.prs << 2) | (f.r << 3)),
);
SLB("tlbiel", "011111 rs:5 /1 ric:2 prs:1 r:1 rb:5 #274:10 /1", (t, f) =>
  systemCall(t, "h_tlbie", gpr(f.rb), gpr(f.rs), f.ric | (f.prs << 2) | (f.r << 3) | 16),
);
SLB("tlbsync", "011111 /5 /5 /5 #566:10 /1", () => {});

const DOORBELL = section("Power ISA III 10.2.1", { privileged: true });
DOORBELL("msgsndp", "011111 /5 /5 rb:5 #142:10 /1", (t, f) => systemCall(t, "h_msgsndp", gpr(f.rb)));
DOORBELL("msgclrp", "011111 /5 /5 rb:5 #174:10 /1", (t, f) => systemCall(t, "h_msgclrp", gpr(f.rb)));
for (const [name, op] of [
  ["msgsnd", 206],
  ["msgclr", 238],
] as const)
  DOORBELL(name, `011111 /5 /5 rb:5 #${op}:10 /1`, (t) => t.program(L.PROGRAM_PRIVILEGED));
DOORBELL("msgsync", "011111 /5 /5 /5 #886:10 /1", () => {}, { isa300: true });

// Cache-inhibited accesses are the hypervisor's.
const CI = section("Power ISA III 4.4.1", { privileged: true });
for (const [name, op] of [
  ["lwzcix", 789],
  ["lhzcix", 821],
  ["lbzcix", 853],
  ["ldcix", 885],
  ["stwcix", 917],
  ["sthcix", 949],
  ["stbcix", 981],
  ["stdcix", 1013],
] as const)
  CI(name, `011111 rt:5 ra:5 rb:5 #${op}:10 /1`, (t) => t.program(L.PROGRAM_PRIVILEGED));

// Transactional memory: not in POWER9 as QEMU has it, and not offered by the device tree.
const TM = section("Power ISA II 5");
for (const [name, op] of [
  ["tbegin.", 654],
  ["tend.", 686],
  ["tcheck", 718],
  ["tsr.", 750],
  ["tabort.", 910],
  ["tabortwc.", 782],
  ["tabortdc.", 814],
  ["tabortwci.", 846],
  ["tabortdci.", 878],
  ["treclaim.", 942],
  ["trechkpt.", 1006],
] as const)
  TM(name, `011111 /5 /5 /5 #${op}:10 /1`);

/** System instructions, flags, I/O, strings: mostly helpers of the runtime (Intel SDM vol 2). */
import { NONE } from "../../../accel/tcg/ir/builder.js";
import { MEM, NO64, ONLY64, RAX, RDX, REG } from "../insn.js";
import * as L from "../layout.js";
import { op } from "../opcodes.js";
import { gpr, type Translator } from "../translator.js";

// --- flags ---
op("f5", "CMC", (t) => t.mergeFlags(t.t("xori", t.cond(2), NONE, 1), L.FL_CF));
op("f8", "CLC", (t) => t.mergeFlags(t.const(0), L.FL_CF));
op("f9", "STC", (t) => t.mergeFlags(t.const(1), L.FL_CF));
op("fc", "CLD", (t) => t.b.movi(L.DF, 1, 0));
op("fd", "STD", (t) => t.b.movi(L.DF, -1, -1));
op("9e", "SAHF", (t) => {
  if (t.long && !t.feature("lahf_lm")) return t.raise(6);
  const ah = t.t("ext8h", gpr(RAX));
  const mask = L.FL_CF | L.FL_PF | L.FL_AF | L.FL_ZF | L.FL_SF;
  t.mergeFlags(t.t("andi", ah, NONE, mask), mask);
});
op("9f", "LAHF", (t) => {
  if (t.long && !t.feature("lahf_lm")) return t.raise(6);
  const f = t.t("ori", t.t("andi", t.flagsImage(), NONE, 0xd5), NONE, 2);
  t.op("dep8h", gpr(RAX), gpr(RAX), f);
});

/** A helper after which the block ends at the next instruction (mode, paging or interrupt state may have changed). */
function ending(t: Translator, helper: string, a = NONE, b = NONE, imm = 0): void {
  t.setNextRip();
  t.call(helper, a, b, imm);
  t.cc = -1;
  t.jumpNext();
}
/** A helper that writes RIP. */
function leaving(t: Translator, helper: string, imm = 0): void {
  t.setNextRip();
  t.call(helper, NONE, NONE, imm);
  t.cc = -1;
  t.exit();
}
op("fa", "CLI", (t) => ending(t, "h_cli"));
op("fb", "STI", (t) => ending(t, "h_sti"));
op("f4", "HLT", (t) => leaving(t, "h_hlt"));

// --- port I/O: the device may stop or reset the machine, so the block ends ---
const port = (t: Translator, byDx: boolean) => (byDx ? t.t("ext16u", gpr(RDX)) : t.const(t.i.imm & 255, 0));
const input = (size0: boolean, byDx: boolean) => (t: Translator) => {
  const size = size0 ? 0 : Math.min(t.i.opsize, 2);
  const v = t.call("h_in", port(t, byDx), NONE, 1 << size);
  t.setReg(RAX, size, v);
  t.jumpNext();
};
const output = (size0: boolean, byDx: boolean) => (t: Translator) => {
  const size = size0 ? 0 : Math.min(t.i.opsize, 2);
  t.setNextRip();
  t.call("h_out", port(t, byDx), t.zext(gpr(RAX), size), 1 << size);
  t.jumpNext();
};
op("e4", "IN AL,Ib", input(true, false));
op("e5", "IN eAX,Ib", input(false, false));
op("ec", "IN AL,DX", input(true, true));
op("ed", "IN eAX,DX", input(false, true));
op("e6", "OUT Ib,AL", output(true, false));
op("e7", "OUT Ib,eAX", output(false, false));
op("ee", "OUT DX,AL", output(true, true));
op("ef", "OUT DX,eAX", output(false, true));

// --- strings ---
const STRINGS: [string, string, boolean][] = [
  ["6c", "ins", true],
  ["6e", "outs", true],
  ["a4", "movs", false],
  ["a6", "cmps", false],
  ["aa", "stos", false],
  ["ac", "lods", false],
  ["ae", "scas", false],
];
for (const [code, name, io] of STRINGS)
  for (const wide of [false, true])
    op((Number.parseInt(code, 16) + (wide ? 1 : 0)).toString(16), `${name.toUpperCase()}${wide ? "v" : "b"}`, (t) => {
      const size = wide ? (io ? Math.min(t.i.opsize, 2) : t.i.opsize) : 0;
      const rep = t.i.rep === 0xf3 ? 1 : t.i.rep === 0xf2 ? 2 : 0;
      t.setNextRip();
      const again = t.call(`h_rep_${name}`, NONE, NONE, size | (t.i.adsize << 2) | (t.dataSegment << 4) | (rep << 8));
      if (name === "cmps" || name === "scas") t.cc = -1;
      if (rep) t.repeat(again);
      else if (io) t.jumpNext();
    });

// --- descriptor tables, segments ---
const prot = (emit: (t: Translator) => void) => (t: Translator) => (t.protectedMode ? emit(t) : t.raise(6));
op("0f 00 /0", "SLDT Ev", prot((t) => storeWord(t, t.call("h_sldt"))));
op("0f 00 /1", "STR Ev", prot((t) => storeWord(t, t.call("h_str"))));
op("0f 00 /2", "LLDT Ew", prot((t) => ending(t, "h_lldt", t.zext(t.readE(1), 1))));
op("0f 00 /3", "LTR Ew", prot((t) => ending(t, "h_ltr", t.zext(t.readE(1), 1))));
for (const [r, name] of [[4, "VERR"], [5, "VERW"]] as const)
  op(
    `0f 00 /${r}`,
    `${name} Ew`,
    prot((t) => {
      t.call(`h_${name.toLowerCase()}`, t.zext(t.readE(1), 1));
      t.cc = -1;
    }),
  );
/** 16 bits to memory, the operand size to a register. */
function storeWord(t: Translator, v: number): void {
  if (t.isMem) t.st(t.mem(), 1, v);
  else t.setRegClean(t.i.rm, t.i.opsize, v);
}
const storeTable = (limit: number, base: number) => (t: Translator) => {
  t.call("h_umip");
  const m = t.mem();
  t.st(m, 1, t.t("ldst32", NONE, NONE, limit));
  t.st(t.memPlus(m, 2), t.long ? 3 : 2, base);
};
op("0f 01 /0 m", "SGDT Ms", storeTable(L.GDT_LIMIT, L.GDT_BASE));
op("0f 01 /1 m", "SIDT Ms", storeTable(L.IDT_LIMIT, L.IDT_BASE));
const loadTable = (helper: string) => (t: Translator) => {
  const m = t.mem();
  const limit = t.ld(m, 1);
  let base = t.ld(t.memPlus(m, 2), t.long ? 3 : 2);
  if (!t.long && t.i.opsize === 1) base = t.t("andi", base, NONE, 0xffffff);
  ending(t, helper, base, limit, t.i.opsize);
};
op("0f 01 /2 m", "LGDT Ms", loadTable("h_lgdt"), MEM);
op("0f 01 /3 m", "LIDT Ms", loadTable("h_lidt"), MEM);
op("0f 01 /4", "SMSW Ev", (t) => {
  const v = t.call("h_smsw");
  if (t.isMem) t.st(t.mem(), 1, v);
  else t.setRegClean(t.i.rm, t.i.opsize, v);
});
op("0f 01 /6", "LMSW Ew", (t) => ending(t, "h_lmsw", t.zext(t.readE(1), 1)));
op("0f 01 /7 m", "INVLPG Mb", (t) => ending(t, "h_invlpg", t.linear(t.mem())));
op("0f 01 =f8", "SWAPGS", (t) => ending(t, "h_swapgs"), ONLY64);
op("0f 01 =f9", "RDTSCP", (t) => {
  if (!t.feature("rdtscp")) return t.raise(6);
  t.call("h_rdtscp");
});
op("0f 01 =c8", "MONITOR", (t) => {
  if (!t.feature("monitor")) return t.raise(6);
  t.call("h_monitor", t.i.adsize === 3 ? gpr(RAX) : t.zext(gpr(RAX), t.i.adsize));
});
op("0f 01 =c9", "MWAIT", (t) => {
  if (!t.feature("monitor")) return t.raise(6);
  leaving(t, "h_mwait");
});
op("0f 01 =ca", "CLAC", (t) => (t.feature("smap") ? ending(t, "h_clac") : t.raise(6)));
op("0f 01 =cb", "STAC", (t) => (t.feature("smap") ? ending(t, "h_stac") : t.raise(6)));
op("0f 01 =d0", "XGETBV", (t) => {
  if (!(t.hflags & L.HF_OSXSAVE)) return t.raise(6);
  t.call("h_xgetbv");
});
op("0f 01 =d1", "XSETBV", (t) => (t.hflags & L.HF_OSXSAVE ? ending(t, "h_xsetbv") : t.raise(6)));
for (const [code, helper] of [["0f 02", "h_lar"], ["0f 03", "h_lsl"]] as const)
  op(
    code,
    `${helper.slice(2).toUpperCase()} Gv,Ew`,
    prot((t) => {
      const size = t.i.opsize;
      const v = t.call(helper, t.zext(t.readE(1), 1), gpr(t.i.reg));
      t.cc = -1;
      if (size >= 2) t.mov(gpr(t.i.reg), v);
      else t.setReg(t.i.reg, size, v);
    }),
  );
op("63", "ARPL Ew,Gw", prot((t) => {
  const m = t.isMem ? t.mem() : undefined;
  const v = t.call("h_arpl", t.zext(t.readE(1, m), 1), t.zext(t.readG(1), 1));
  t.cc = -1;
  t.writeE(1, v, m);
}), NO64);

// --- fast system calls ---
op("0f 05", "SYSCALL", (t) => (t.feature("syscall") ? leaving(t, "h_syscall") : t.raise(6)));
op("0f 07", "SYSRET", (t) => (t.feature("syscall") ? leaving(t, "h_sysret", t.i.opsize) : t.raise(6)));
op("0f 34", "SYSENTER", (t) => (t.feature("sep") ? leaving(t, "h_sysenter") : t.raise(6)));
op("0f 35", "SYSEXIT", (t) => (t.feature("sep") ? leaving(t, "h_sysexit", t.i.opsize) : t.raise(6)));
op("0f aa", "RSM", (t) => (t.hflags & L.HF_SMM ? leaving(t, "h_rsm") : t.raise(6)));

// --- control and debug registers, MSRs, counters ---
op("0f 06", "CLTS", (t) => ending(t, "h_clts"));
op("0f 08", "INVD", (t) => t.call("h_wbinvd"));
op("0f 09", "WBINVD", (t) => t.call("h_wbinvd"));
const wide = (t: Translator) => (t.long ? 3 : 2);
op("0f 20", "MOV Ry,Cy", (t) => {
  const n = t.i.reg | (t.i.lock && t.feature("cr8legacy") ? 8 : 0);
  if (![0, 2, 3, 4, 8].includes(n) || (n === 8 && !t.long)) return t.raise(6);
  t.setRegClean(t.i.rm, wide(t), t.call("h_mov_from_cr", NONE, NONE, n));
});
op("0f 22", "MOV Cy,Ry", (t) => {
  const n = t.i.reg;
  if (![0, 2, 3, 4, 8].includes(n) || (n === 8 && !t.long)) return t.raise(6);
  ending(t, "h_mov_to_cr", t.zext(gpr(t.i.rm), wide(t)), NONE, n);
});
const debugRegister = (t: Translator): number => {
  const n = t.i.reg;
  if (n > 7) return -1;
  if (n === 4 || n === 5) return t.hflags & L.HF_CR4_DE ? -1 : n + 2;
  return n;
};
op("0f 21", "MOV Ry,Dy", (t) => {
  const n = debugRegister(t);
  if (n < 0) return t.raise(6);
  t.setRegClean(t.i.rm, wide(t), t.call("h_mov_from_dr", NONE, NONE, n));
});
op("0f 23", "MOV Dy,Ry", (t) => {
  const n = debugRegister(t);
  if (n < 0) return t.raise(6);
  ending(t, "h_mov_to_dr", t.zext(gpr(t.i.rm), wide(t)), NONE, n);
});
op("0f 30", "WRMSR", (t) => (t.feature("msr") ? ending(t, "h_wrmsr") : t.raise(6)));
op("0f 32", "RDMSR", (t) => (t.feature("msr") ? t.call("h_rdmsr") : t.raise(6)));
op("0f 31", "RDTSC", (t) => (t.feature("tsc") ? t.call("h_rdtsc") : t.raise(6)));
op("0f 33", "RDPMC", (t) => t.call("h_rdpmc"));
op("0f a2", "CPUID", (t) => t.call("h_cpuid"));
op("66 0f 38 82 m", "INVPCID Gy,Mdq", (t) => {
  if (!t.feature("invpcid")) return t.raise(6);
  const m = t.mem();
  t.checkSegment(m, 16, false);
  ending(t, "h_invpcid", t.zext(gpr(t.i.reg), wide(t)), t.linear(m));
}, MEM);
op("0f 0b", "UD2", (t) => t.raise(6));
op("0f b9", "UD1 Gv,Ev", (t) => t.raise(6));
op("0f ff", "UD0 Gv,Ev", (t) => t.raise(6));
for (const [r, name] of [[6, "RDRAND"], [7, "RDSEED"]] as const)
  op(
    `0f c7 /${r} r`,
    `${name} Rv`,
    (t) => {
      if (!t.feature(name.toLowerCase())) return t.raise(6);
      const v = t.call(`h_${name.toLowerCase()}`, NONE, NONE, t.i.opsize);
      t.cc = -1;
      t.setRegClean(t.i.rm, t.i.opsize, v);
    },
    REG,
  );
op("f3 0f c7 /7 r", "RDPID Ry", (t) => {
  if (!t.feature("rdpid")) return t.raise(6);
  t.setRegClean(t.i.rm, wide(t), t.call("h_rdpid"));
}, REG);
for (const [r, name, seg, write] of [[0, "RDFSBASE", 4, false], [1, "RDGSBASE", 5, false], [2, "WRFSBASE", 4, true], [3, "WRGSBASE", 5, true]] as const)
  op(
    `f3 0f ae /${r} r`,
    `${name} Ry`,
    (t) => {
      if (!t.feature("fsgsbase")) return t.raise(6);
      const size = t.i.opsize === 3 ? 3 : 2;
      if (write) t.call("h_wrfsgsbase", t.zext(gpr(t.i.rm), size), NONE, seg);
      else t.setRegClean(t.i.rm, size, t.call("h_rdfsgsbase", NONE, NONE, seg));
    },
    REG | ONLY64,
  );

// --- fences, cache control ---
op("0f ae /5 r", "LFENCE", (t) => (t.feature("sse2") ? undefined : t.raise(6)), REG);
op("0f ae /6 r", "MFENCE", (t) => (t.feature("sse2") ? undefined : t.raise(6)), REG);
op("0f ae /7 r", "SFENCE", (t) => (t.feature("sse") ? undefined : t.raise(6)), REG);
op("np 0f ae /7 m", "CLFLUSH Mb", (t) => {
  if (!t.feature("clflush")) return t.raise(6);
  t.ld(t.mem(), 0);
}, MEM);
op("66 0f ae /7 m", "CLFLUSHOPT Mb", (t) => {
  if (!t.feature("clflushopt")) return t.raise(6);
  t.ld(t.mem(), 0);
}, MEM);

// --- state save ---
function fxGuard(t: Translator): boolean {
  if (t.hflags & (L.HF_EM | L.HF_TS)) {
    t.raise(7);
    return false;
  }
  return true;
}
const saveArea = (helper: string, size: number, write: boolean, need: string) => (t: Translator) => {
  if (!t.feature(need)) return t.raise(6);
  if (need === "xsave" && !(t.hflags & L.HF_OSXSAVE)) return t.raise(6);
  if (need === "xsave" ? t.hflags & L.HF_TS : !fxGuard(t)) {
    if (need === "xsave") t.raise(7);
    return;
  }
  const m = t.mem();
  t.checkSegment(m, size, write);
  t.call(helper, t.linear(m), NONE, t.i.opsize === 3 ? 1 : 0);
};
op("np 0f ae /0 m", "FXSAVE M", saveArea("h_fxsave", 512, true, "fxsr"), MEM);
op("np 0f ae /1 m", "FXRSTOR M", saveArea("h_fxrstor", 512, false, "fxsr"), MEM);
op("np 0f ae /4 m", "XSAVE M", saveArea("h_xsave", 576, true, "xsave"), MEM);
op("np 0f ae /5 m", "XRSTOR M", saveArea("h_xrstor", 576, false, "xsave"), MEM);
op("np 0f ae /6 m", "XSAVEOPT M", saveArea("h_xsaveopt", 576, true, "xsave"), MEM);

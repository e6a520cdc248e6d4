/** The x86 guest CPU as the translator's engine takes it. */
import type { EngineSite, PhysBus, TcgTarget } from "../../accel/tcg/engine.js";
import type { IrBuilder } from "../../accel/tcg/ir/builder.js";
import type { CpuModel } from "./cpu-models.js";
import { X86_ENV } from "./env-layout.js";
import { X86FrontEnd } from "./frontend.js";
import * as L from "./layout.js";

/** The machine as x86 CPUs see it. */
export interface X86Bus extends PhysBus {
  ioRead(port: number, size: number): number;
  ioWrite(port: number, size: number, value: number): void;
  /** Time stamp counter. */
  tsc(): number;
  msrRead(cpu: number, index: number): number;
  msrWrite(cpu: number, index: number, low: number, high: number): number;
  acknowledge(cpu: number): number;
  tprRead(cpu: number): number;
  tprWrite(cpu: number, value: number): void;
  cpuid(cpu: number, leaf: number, subleaf: number, out: Uint32Array): void;
  random(out: Uint32Array): void;
  /** 0 entered SMM, 1 left SMM, 2 triple fault, 3 memory map changed */
  notify(cpu: number, what: number, value: number): void;
}

function hostImports(bus: X86Bus, at: EngineSite): ReturnType<TcgTarget["hostImports"]> {
  const scratch = new Uint32Array(4);
  return {
    ioRead: (p: number, s: number) => bus.ioRead(p, s),
    ioWrite: (p: number, s: number, v: number) => bus.ioWrite(p, s, v >>> 0),
    tsc: () => bus.tsc(),
    msrRead: (i: number) => bus.msrRead(at.cpu(), i >>> 0),
    msrWrite: (i: number, lo: number, hi: number) => bus.msrWrite(at.cpu(), i >>> 0, lo >>> 0, hi >>> 0),
    tprRead: () => bus.tprRead(at.cpu()),
    tprWrite: (v: number) => bus.tprWrite(at.cpu(), v >>> 0),
    cpuid: (leaf: number, sub: number) => {
      bus.cpuid(at.cpu(), leaf >>> 0, sub >>> 0, scratch);
      at.u32.set(scratch, (at.env() + L.SCRATCH) >>> 2);
    },
    random: () => {
      bus.random(scratch);
      at.u32.set(scratch.subarray(0, 2), (at.env() + L.SCRATCH) >>> 2);
    },
    acknowledge: () => {
      const vector = bus.acknowledge(at.cpu());
      at.trace.log("int", () => `cpu ${at.cpu()}: hardware interrupt v=${vector.toString(16).padStart(2, "0")}`);
      return vector;
    },
    notify: (what: number, value: number) => bus.notify(at.cpu(), what, value),
  };
}

export function x86Target(model: CpuModel): TcgTarget<X86Bus> {
  return {
    layout: X86_ENV,
    ripExact: L.RIP_EXACT,
    cpuIndex: L.CPU_INDEX,
    excVector: L.EXC_VECTOR,
    frontEnd: (helperIndex: (name: string) => number, builder: IrBuilder) =>
      new X86FrontEnd(helperIndex, model.features, builder),
    hostImports,
    fpHelpers: (h) => ({
      segchk: h("h_segchk"),
      arith32: h("h_fp_arith32"),
      arith64: h("h_fp_arith64"),
      packed32: h("h_fp_packed32"),
      packed64: h("h_fp_packed64"),
      compare32: h("h_sse_comi_f32"),
      compare64: h("h_sse_comi_f64"),
      convert: h("h_fp_convert"),
    }),
  };
}

const CR4 = { vme: 1, pvi: 2, tsd: 4, de: 8, pse: 16, pae: 32, mce: 64, pge: 128, pce: 256, osfxsr: 512, osxmmexcpt: 1024 };

/** Writes the model's masks and feature words into a vCPU's state. */
export function applyModel(u32: Uint32Array, env: number, m: CpuModel): void {
  const at = (o: number) => (env + o) >>> 2;
  const f = m.features;
  let cr4 = CR4.tsd | CR4.pce;
  const add = (feature: string, bits: number) => {
    if (f.has(feature)) cr4 |= bits;
  };
  add("vme", CR4.vme | CR4.pvi);
  add("de", CR4.de);
  add("pse", CR4.pse);
  add("pae", CR4.pae);
  add("mce", CR4.mce);
  add("pge", CR4.pge);
  add("fxsr", CR4.osfxsr);
  add("sse", CR4.osxmmexcpt);
  add("umip", 1 << 11);
  add("fsgsbase", 1 << 16);
  add("pcid", 1 << 17);
  add("xsave", 1 << 18);
  add("smep", 1 << 20);
  add("smap", 1 << 21);
  u32[at(L.CR4_VALID)] = cr4;
  u32[at(L.CR4_VALID) + 1] = 0;
  let efer = 0;
  if (f.has("syscall")) efer |= 1;
  if (f.has("lm")) efer |= 0x500;
  if (f.has("nx")) efer |= 0x800;
  u32[at(L.EFER_VALID)] = efer;
  u32[at(L.EFER_VALID) + 1] = 0;
  u32[at(L.XCR0_VALID)] = f.has("xsave") ? 3 : 1;
  u32[at(L.XCR0_VALID) + 1] = 0;
  u32[at(L.PHYS_MASK)] = 0xffffffff;
  u32[at(L.PHYS_MASK) + 1] = m.physBits > 32 ? 2 ** (m.physBits - 32) - 1 : 0;
  u32[at(L.FEAT_1_EDX)] = m.words["1.edx"];
  u32[at(L.FEAT_1_ECX)] = m.words["1.ecx"];
  u32[at(L.FEAT_7_EBX)] = m.words["7.ebx"];
  u32[at(L.FEAT_7_ECX)] = m.words["7.ecx"];
  u32[at(L.FEAT_81_EDX)] = m.words["81.edx"];
  u32[at(L.FEAT_81_ECX)] = m.words["81.ecx"];
  u32[at(L.CPU_SIGNATURE)] = m.signature;
}

/**
 * One instruction (or a few) in a vCPU of the translator: a TcgEngine with 64-bit code, paging off and a few pages of
 * memory. Exceptions end at HLTs, so that their vector shows.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TcgEngine } from "../src/accel/tcg/engine.js";
import { ENGINE_BYTES, MAP_RAM, PHYS_MAP } from "../src/accel/tcg/map.js";
import { Trace } from "../src/base/trace.js";
import { GuestRam } from "../src/memory/ram.js";
import { cpuModel } from "../src/target/x86/cpu-models.js";
import * as L from "../src/target/x86/layout.js";
import { applyModel, x86Target } from "../src/target/x86/target.js";
// @ts-expect-error: a script without declarations
import { buildRuntime } from "../tools/build-runtime.mjs";
import { CODE_AT, type CpuState, DATA_AT, MEMORY_AT, MEMORY_BYTES, STACK_AT } from "./cpu-state.js";

const root = fileURLToPath(new URL("..", import.meta.url));
const RAM_BYTES = 2 << 20;
const IDT_AT = 0x10000;
const HANDLERS_AT = 0x20000;
const GDT_AT = 0x30000;
const CODE64 = 0x00af9b00;
const CODE32 = 0x00cf9b00;
const DATA32 = 0x00cf9300;

/** Which tier executes: 0 interprets, 1 compiles every block before its first run. */
export type Tier = 0 | 1;

let module: WebAssembly.Module | undefined;

export class InsnRig {
  readonly engine: TcgEngine;
  private readonly ram: GuestRam;
  private readonly env: number;
  private readonly base: number;
  private readonly u32: Uint32Array;
  private lastCode = "";

  /** @param bits 64-bit code, or 32-bit code in protected mode */
  constructor(
    readonly tier: Tier,
    model = "max",
    private readonly bits: 64 | 32 = 64,
  ) {
    if (!module) {
      const wasm = path.join(root, "dist/runtime/x86.wasm");
      buildRuntime("src/target/x86/runtime/index.ts", wasm, { ifNewer: true });
      module = new WebAssembly.Module(readFileSync(wasm));
    }
    this.ram = new GuestRam(ENGINE_BYTES, RAM_BYTES, true);
    const block = this.ram.allocate("ram", RAM_BYTES);
    this.base = block.hostOffset;
    this.u32 = this.ram.u32;
    const cpu = cpuModel(model, []);
    const refuse = () => 0xffffffff;
    this.engine = new TcgEngine(
      this.ram,
      x86Target(cpu),
      module,
      1,
      {
        ioRead: refuse,
        ioWrite() {},
        physRead: refuse,
        physWrite() {},
        tsc: () => 0,
        msrRead: () => 0,
        msrWrite: () => 1,
        acknowledge: () => -1,
        tprRead: () => 0,
        tprWrite() {},
        cpuid() {},
        random() {},
        notify() {},
      },
      new Trace(),
      true,
      { tier1: tier === 1, synchronous: true },
    );
    this.env = this.engine.envOf(0);
    if (tier === 1) (this.engine.tier1 as { threshold: number }).threshold = 1;
    applyModel(this.u32, this.env, cpu);
    for (let p = 0; p < RAM_BYTES / 4096; p++) this.u32[(PHYS_MAP >>> 2) + p] = ((this.base + p * 4096) | MAP_RAM) >>> 0;
    this.engine.mapChanged();
    this.mode();
  }

  /** Flat segments; interrupt gates to one HLT each. */
  private mode(): void {
    const v = this.ram.view;
    const long = this.bits === 64;
    for (let n = 0; n < 32; n++) {
      const at = this.base + IDT_AT + (long ? 16 : 8) * n;
      const to = HANDLERS_AT + 16 * n;
      v.setUint32(at, (to & 0xffff) | (8 << 16), true);
      v.setUint32(at + 4, (to & 0xffff0000) | 0x8e00, true);
      if (long) v.setUint32(at + 8, 0, true);
      this.ram.u8[this.base + to] = 0xf4;
    }
    const code = long ? CODE64 : CODE32;
    v.setUint32(this.base + GDT_AT + 8, 0xffff, true);
    v.setUint32(this.base + GDT_AT + 8 + 4, code, true);
    v.setUint32(this.base + GDT_AT + 16, 0xffff, true);
    v.setUint32(this.base + GDT_AT + 16 + 4, DATA32, true);
    this.set64(L.IDT_BASE, BigInt(IDT_AT));
    this.set32(L.IDT_LIMIT, 0xfff);
    this.set64(L.GDT_BASE, BigInt(GDT_AT));
    this.set32(L.GDT_LIMIT, 0xfff);
    // PE, MP, NE; OSFXSR, OSXMMEXCPT; LME, LMA.
    this.set64(L.CR0, 0x33n);
    this.set64(L.CR4, 0x600n);
    this.set64(L.EFER, long ? 0x501n : 0n);
    for (let s = 0; s < 6; s++) {
      this.set32(L.SEG_SEL + 4 * s, s === 1 ? 8 : 16);
      this.set32(L.SEG_LIMIT + 4 * s, 0xffffffff);
      this.set32(L.SEG_FLAGS + 4 * s, s === 1 ? code : DATA32);
      this.set64(L.SEG_BASE + 8 * s, 0n);
    }
    (this.engine.runtime.updateHflags as () => void)();
  }

  private set32(o: number, v: number): void {
    this.ram.view.setUint32(this.env + o, v, true);
  }
  private get32(o: number): number {
    return this.ram.view.getUint32(this.env + o, true);
  }
  private set64(o: number, v: bigint): void {
    this.ram.view.setBigUint64(this.env + o, v, true);
  }
  private get64(o: number): bigint {
    return this.ram.view.getBigUint64(this.env + o, true);
  }

  /** Executes the state's code once. The result's `trap` is the exception's vector, or 0. */
  run(start: CpuState): CpuState {
    const u8 = this.ram.u8;
    const length = start.bytes[0]!;
    const code = [...start.bytes.subarray(1, 1 + length), 0xf4];
    const text = code.join();
    if (text !== this.lastCode) {
      u8.fill(0xf4, this.base + CODE_AT, this.base + CODE_AT + 64);
      u8.set(code, this.base + CODE_AT);
      this.engine.flushAll();
      this.lastCode = text;
    }
    u8.fill(0, this.base + DATA_AT, this.base + DATA_AT + 4096);
    u8.set(start.memory, this.base + MEMORY_AT);
    u8.fill(0, this.base + STACK_AT, this.base + STACK_AT + 4096);
    this.engine.select(0);
    // An exception of the run before has changed CS, SS and the flags.
    this.mode();
    for (let n = 0; n < 16; n++) this.set64(L.GPR + 8 * n, start.gpr(n));
    this.set64(L.RIP, BigInt(CODE_AT));
    this.set32(L.HALTED, 0);
    this.set32(L.EVENTS, 0);
    (this.engine.runtime.setEflags as (v: number, m: number) => void)(start.flags, 0x3f7fd5);
    const top = (start.fsw >> 11) & 7;
    this.set32(L.FCW, start.fcw);
    this.set32(L.FSW, start.fsw & ~0x3800);
    this.set32(L.FTOP, top);
    this.set32(L.FTAGS, ~start.ftw & 255);
    // Host processors differ in when they record pointers: all tests begin without.
    for (const o of [L.FOP, L.FCS, L.FDS]) this.set32(o, 0);
    for (const o of [L.FIP, L.FDP]) this.set64(o, 0n);
    for (let i = 0; i < 8; i++) {
      const at = this.env + L.FPR + 16 * ((top + i) & 7);
      u8.fill(0, at, at + 16);
      u8.set(start.st(i), at);
    }
    for (let n = 0; n < 16; n++) u8.set(start.xmm(n), this.env + L.XMM + 16 * n);
    this.set32(L.MXCSR, start.mxcsr);
    (this.engine.runtime.updateFpFast as () => void)();

    const end = this.engine.run(0, 10000);

    const out = start.copy();
    const rip = Number(this.get64(L.RIP));
    out.trap = 0;
    if (end !== "halted") out.trap = 255;
    else if (rip >= HANDLERS_AT && rip < HANDLERS_AT + 0x200) {
      out.trap = (rip - HANDLERS_AT) >> 4;
      if (out.trap === 0) out.trap = 32;
    }
    for (let n = 0; n < 16; n++) out.setGpr(n, this.get64(L.GPR + 8 * n));
    out.flags = (this.engine.runtime.getEflags as () => number)();
    const newTop = this.get32(L.FTOP);
    out.fcw = this.get32(L.FCW);
    out.fsw = (this.get32(L.FSW) & ~0x3800) | (newTop << 11);
    out.ftw = ~this.get32(L.FTAGS) & 255;
    for (let i = 0; i < 8; i++) {
      const at = this.env + L.FPR + 16 * ((newTop + i) & 7);
      out.st(i).set(u8.subarray(at, at + 10));
    }
    for (let n = 0; n < 16; n++) out.xmm(n).set(u8.subarray(this.env + L.XMM + 16 * n, this.env + L.XMM + 16 * n + 16));
    out.mxcsr = this.get32(L.MXCSR);
    out.memory.set(u8.subarray(this.base + MEMORY_AT, this.base + MEMORY_AT + MEMORY_BYTES));
    out.stack.set(u8.subarray(this.base + STACK_AT + 0x800 - 128, this.base + STACK_AT + 0x800 + 128));
    return out;
  }
}

/**
 * Whole programs in a bare vCPU of the translator: flat code in 16, 32 or 64-bit mode, identity-mapped pages that a test
 * may take away, exceptions that end at one HLT each, memory-mapped I/O and ports that are recorded. No devices, no clock.
 */
import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TcgEngine, type TurnEnd } from "../src/accel/tcg/engine.js";
import { ENGINE_BYTES, MAP_RAM, PHYS_MAP } from "../src/accel/tcg/map.js";
import { Trace } from "../src/base/trace.js";
import { GuestRam } from "../src/memory/ram.js";
import { cpuModel } from "../src/target/x86/cpu-models.js";
import * as L from "../src/target/x86/layout.js";
import { applyModel, x86Target } from "../src/target/x86/target.js";
// @ts-expect-error: a script without declarations
import { buildRuntime } from "../tools/build-runtime.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));

export type Mode = 16 | 32 | 64;

export const RAM_BYTES = 2 << 20;
/** Where programs begin. */
export const CODE_AT = 0x8000;
/** Two pages for data; nothing else is on the pages around them. */
export const DATA_AT = 0xc000;
/** Top of the stack, which has its page for itself. */
export const STACK_TOP = 0x7000;
/** Guest physical addresses that are not RAM; also mapped. */
export const MMIO_AT = 0x1f0000;
const IDT_AT = 0x1000;
const HANDLERS_AT = 0x2000;
const GDT_AT = 0x3000;
const TABLES_AT = 0x100000;

const PRESENT_WRITE = 3;

/** What a program did outside its memory. */
export type BusEvent =
  | { readonly kind: "in" | "read"; readonly at: number; readonly size: number }
  | { readonly kind: "out" | "write"; readonly at: number; readonly size: number; readonly value: number };

/** Everything that two runs must agree on. */
export interface FinalState {
  readonly end: TurnEnd | "limit";
  /** Vector of the exception that ended the run; -1 = none. */
  readonly vector: number;
  readonly rip: bigint;
  readonly gpr: readonly bigint[];
  readonly eflags: number;
  readonly cr2: bigint;
  readonly xmm: readonly string[];
  /** x87: control word, status word with TOP, tags, registers. */
  readonly fpu: string;
  readonly mxcsr: number;
  /** Guest instructions. */
  readonly insns: number;
  readonly events: readonly BusEvent[];
}

export interface RigOptions {
  readonly mode: Mode;
  /** 0 interprets; 1 compiles. */
  readonly tier: 0 | 1;
  /** Runs of a block before it is compiled. */
  readonly threshold?: number;
  readonly cpus?: number;
  readonly model?: string;
  /** Regions are compiled on other threads and come when they come. */
  readonly background?: boolean;
  /** In 32-bit mode: whether paging is on. It always is in 64-bit mode. */
  readonly paging?: boolean;
}

let runtime: WebAssembly.Module | undefined;

export class ProgramRig {
  readonly engine: TcgEngine;
  readonly ram: GuestRam;
  /** Host address of guest physical 0. */
  readonly base: number;
  readonly events: BusEvent[] = [];
  readonly trace = new Trace();
  /** What reads outside RAM give: by default a function of the address. */
  readBus: (at: number, size: number) => number = (at, size) => (at * 0x9e3779b1 + size) >>> 0;
  private readonly mode: Mode;
  private readonly paging: boolean;

  constructor(o: RigOptions) {
    if (!runtime) {
      const wasm = path.join(root, "dist/runtime/x86.wasm");
      buildRuntime("src/target/x86/runtime/index.ts", wasm, { ifNewer: true });
      runtime = new WebAssembly.Module(readFileSync(wasm));
    }
    this.mode = o.mode;
    this.paging = o.mode === 64 || (o.mode === 32 && o.paging === true);
    this.ram = new GuestRam(ENGINE_BYTES, RAM_BYTES, true);
    this.base = this.ram.allocate("ram", RAM_BYTES).hostOffset;
    const model = cpuModel(o.model ?? "max", []);
    const cpus = o.cpus ?? 1;
    const bus = {
      ioRead: (at: number, size: number) => {
        this.events.push({ kind: "in", at, size });
        return this.readBus(at, size);
      },
      ioWrite: (at: number, size: number, value: number) => void this.events.push({ kind: "out", at, size, value }),
      physRead: (at: number, _high: number, size: number) => {
        this.events.push({ kind: "read", at, size });
        return this.readBus(at, size);
      },
      physWrite: (at: number, _high: number, size: number, value: number) =>
        void this.events.push({ kind: "write", at, size, value }),
      tsc: () => 0,
      msrRead: () => 0,
      msrWrite: () => 1,
      acknowledge: () => -1,
      tprRead: () => 0,
      tprWrite() {},
      cpuid() {},
      random() {},
      notify() {},
    };
    const options = {
      tier1: o.tier === 1,
      synchronous: !o.background,
      ...(o.threshold === undefined ? {} : { threshold: o.threshold }),
    };
    this.engine = new TcgEngine(this.ram, x86Target(model), runtime, cpus, bus, this.trace, true, options);
    for (let i = 0; i < cpus; i++) applyModel(this.ram.u32, this.engine.envOf(i), model);
    for (let p = 0; p < RAM_BYTES / 4096; p++)
      if (p * 4096 < MMIO_AT) this.ram.u32[(PHYS_MAP >>> 2) + p] = ((this.base + p * 4096) | MAP_RAM) >>> 0;
    this.engine.mapChanged();
    this.writeTables();
    for (let i = 0; i < cpus; i++) this.resetState(i);
  }

  // --- memory ---
  load(at: number, bytes: ArrayLike<number>): void {
    this.ram.u8.set(bytes, this.base + at);
  }

  /** A device writes guest memory. */
  dma(at: number, bytes: ArrayLike<number>): void {
    this.load(at, bytes);
    this.engine.ramWritten(this.base + at, bytes.length);
  }

  bytes(at: number, length: number): Uint8Array {
    return this.ram.u8.slice(this.base + at, this.base + at + length);
  }

  u32(at: number): number {
    return this.ram.view.getUint32(this.base + at, true);
  }

  private put32(at: number, value: number): void {
    this.ram.view.setUint32(this.base + at, value, true);
  }

  /** Host address of the page table entry of a page. */
  private entryAt(page: number): number {
    return this.mode === 64 ? TABLES_AT + 0x3000 + page * 8 : TABLES_AT + 0x1000 + page * 4;
  }

  /** Sets a page's entry (default: identity, present, writable) and forgets translations. */
  mapPage(page: number, flags = PRESENT_WRITE, to = page): void {
    this.put32(this.entryAt(page), (to * 4096) | flags);
    this.engine.select(0);
    this.engine.runtime.flushTlbAll();
  }

  // --- registers ---
  private at(offset: number, cpu: number): number {
    return this.engine.envOf(cpu) + offset;
  }

  set32(offset: number, value: number, cpu = 0): void {
    this.ram.view.setUint32(this.at(offset, cpu), value, true);
  }

  get32(offset: number, cpu = 0): number {
    return this.ram.view.getUint32(this.at(offset, cpu), true);
  }

  set64(offset: number, value: bigint, cpu = 0): void {
    this.ram.view.setBigUint64(this.at(offset, cpu), BigInt.asUintN(64, value), true);
  }

  get64(offset: number, cpu = 0): bigint {
    return this.ram.view.getBigUint64(this.at(offset, cpu), true);
  }

  gpr(n: number): bigint {
    return this.get64(L.GPR + 8 * n);
  }

  setGpr(n: number, value: bigint): void {
    this.set64(L.GPR + 8 * n, value);
  }

  /** Descriptors, gates to HLTs, page tables. */
  private writeTables(): void {
    const gate = this.mode === 64 ? 16 : this.mode === 32 ? 8 : 4;
    for (let n = 0; n < 32; n++) {
      const at = (this.mode === 16 ? 0 : IDT_AT) + gate * n;
      const to = HANDLERS_AT + 16 * n;
      if (this.mode === 16) this.put32(at, to);
      else {
        this.put32(at, (to & 0xffff) | (8 << 16));
        this.put32(at + 4, (to & 0xffff0000) | 0x8e00);
        if (gate === 16) this.put32(at + 8, 0);
      }
      this.load(to, [0xf4]);
    }
    this.put32(GDT_AT + 8, 0xffff);
    this.put32(GDT_AT + 12, this.codeFlags);
    this.put32(GDT_AT + 16, 0xffff);
    this.put32(GDT_AT + 20, 0x00cf9300);
    if (!this.paging) return;
    if (this.mode === 64) {
      this.put32(TABLES_AT, (TABLES_AT + 0x1000) | PRESENT_WRITE);
      this.put32(TABLES_AT + 0x1000, (TABLES_AT + 0x2000) | PRESENT_WRITE);
      this.put32(TABLES_AT + 0x2000, (TABLES_AT + 0x3000) | PRESENT_WRITE);
    } else this.put32(TABLES_AT, (TABLES_AT + 0x1000) | PRESENT_WRITE);
    for (let p = 0; p < 512; p++) this.put32(this.entryAt(p), (p * 4096) | PRESENT_WRITE);
  }

  private get codeFlags(): number {
    return this.mode === 64 ? 0x00af9b00 : this.mode === 32 ? 0x00cf9b00 : 0x00009b00;
  }

  /** Puts a vCPU at CODE_AT with zero registers, a stack, interrupts off. */
  resetState(cpu = 0): void {
    const { engine } = this;
    engine.select(cpu);
    for (let n = 0; n < 16; n++) this.set64(L.GPR + 8 * n, 0n, cpu);
    this.set64(L.GPR + 8 * 4, BigInt(STACK_TOP), cpu);
    const real = this.mode === 16;
    this.set64(L.CR0, real ? 0x30n : this.paging ? 0x80000033n : 0x33n, cpu);
    // PAE in 64-bit mode; OSFXSR, OSXMMEXCPT.
    this.set64(L.CR4, this.mode === 64 ? 0x620n : 0x600n, cpu);
    this.set64(L.CR3, BigInt(TABLES_AT), cpu);
    this.set64(L.EFER, this.mode === 64 ? 0xd01n : 0n, cpu);
    this.set64(L.IDT_BASE, real ? 0n : BigInt(IDT_AT), cpu);
    this.set32(L.IDT_LIMIT, real ? 0x3ff : 0xfff, cpu);
    this.set64(L.GDT_BASE, BigInt(GDT_AT), cpu);
    this.set32(L.GDT_LIMIT, 0xfff, cpu);
    for (let s = 0; s < 6; s++) {
      this.set32(L.SEG_SEL + 4 * s, real ? 0 : s === 1 ? 8 : 16, cpu);
      this.set32(L.SEG_LIMIT + 4 * s, real ? 0xffff : 0xffffffff, cpu);
      this.set32(L.SEG_FLAGS + 4 * s, s === 1 ? this.codeFlags : real ? 0x9300 : 0x00cf9300, cpu);
      this.set64(L.SEG_BASE + 8 * s, 0n, cpu);
    }
    (engine.runtime.setEflags as (v: number, m: number) => void)(2, 0x3f7fd5);
    (engine.runtime.updateHflags as () => void)();
    engine.runtime.flushTlbAll();
    this.set64(L.RIP, BigInt(CODE_AT), cpu);
    this.set32(L.HALTED, 0, cpu);
    this.set32(L.EVENTS, 0, cpu);
    this.ram.u8.fill(0, this.at(L.FPR, cpu), this.at(L.XMM, cpu) + 256);
    this.set64(L.CR2, 0n, cpu);
    this.set32(L.FCW, 0x37f, cpu);
    this.set32(L.FSW, 0, cpu);
    this.set32(L.FTOP, 0, cpu);
    this.set32(L.FTAGS, 0xff, cpu);
    this.set32(L.MXCSR, 0x1f80, cpu);
    (engine.runtime.updateFpFast as () => void)();
  }

  eflags(): number {
    this.engine.select(0);
    return (this.engine.runtime.getEflags as () => number)() >>> 0;
  }

  /**
   * Runs in turns of `slice` instructions until the vCPU halts.
   * @returns what it came to; "limit" after `limit` instructions
   */
  run(limit = 10_000_000, slice = 100_000): FinalState {
    let end: FinalState["end"] = "limit";
    let insns = 0;
    while (insns < limit) {
      const r = this.engine.run(0, slice);
      insns += this.engine.lastUsed;
      if (r !== "budget") {
        end = r;
        break;
      }
    }
    return this.state(end, insns);
  }

  state(end: FinalState["end"], insns: number): FinalState {
    const rip = this.get64(L.RIP);
    const handler = Number(rip) - HANDLERS_AT;
    const hex = (at: number, n: number) => Buffer.from(this.ram.u8.subarray(at, at + n)).toString("hex");
    const env = this.engine.envOf(0);
    return {
      end,
      vector: handler >= 0 && handler < 0x200 ? handler >> 4 : -1,
      rip,
      gpr: Array.from({ length: 16 }, (_, n) => this.gpr(n)),
      eflags: this.eflags(),
      cr2: this.get64(L.CR2),
      xmm: Array.from({ length: 16 }, (_, n) => hex(env + L.XMM + 16 * n, 16)),
      fpu: [L.FCW, L.FSW, L.FTOP, L.FTAGS].map((o) => this.get32(o).toString(16)).join(" ") + hex(env + L.FPR, 128),
      mxcsr: this.get32(L.MXCSR),
      insns,
      events: [...this.events],
    };
  }

  /** All of guest memory, page tables and all. */
  memory(): Uint8Array {
    return this.bytes(0, MMIO_AT);
  }
}

/** The first difference between two runs as text, or undefined. */
export function difference(a: ProgramRig, sa: FinalState, b: ProgramRig, sb: FinalState): string | undefined {
  const out: string[] = [];
  const names = "rax rcx rdx rbx rsp rbp rsi rdi r8 r9 r10 r11 r12 r13 r14 r15".split(" ");
  const say = (what: string, x: unknown, y: unknown) => {
    const f = (v: unknown) => (typeof v === "bigint" || typeof v === "number" ? `0x${v.toString(16)}` : String(v));
    if (x !== y) out.push(`${what}: ${f(x)} / ${f(y)}`);
  };
  for (const k of ["end", "vector", "rip", "eflags", "cr2", "fpu", "mxcsr", "insns"] as const) say(k, sa[k], sb[k]);
  for (const [n, name] of names.entries()) say(name, sa.gpr[n], sb.gpr[n]);
  for (const [n, v] of sa.xmm.entries()) say(`xmm${n}`, v, sb.xmm[n]);
  say("bus events", JSON.stringify(sa.events), JSON.stringify(sb.events));
  const ma = a.memory();
  const mb = b.memory();
  // Accessed and dirty bits are a matter of the TLB's history.
  for (let i = 0; i < ma.length; i++)
    if (ma[i] !== mb[i] && (i < TABLES_AT || i >= TABLES_AT + 0x8000)) {
      out.push(`memory at 0x${i.toString(16)}: 0x${ma[i]!.toString(16)} / 0x${mb[i]!.toString(16)}`);
      break;
    }
  return out.length ? out.join("\n") : undefined;
}

/**
 * A PowerPC vCPU with memory and a Linux system call or two, for running static ppc64 and ppc64le programs in real mode:
 * what they write and how they end. The translator's tiers by options.
 */

import { readFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { TcgEngine } from "../src/accel/tcg/engine.js";
import { ENGINE_BYTES, MAP_RAM, PHYS_MAP } from "../src/accel/tcg/map.js";
import { Trace } from "../src/base/trace.js";
import { GuestRam } from "../src/memory/ram.js";
import type { PpcBus } from "../src/target/ppc/bus.js";
import { PpcCpu } from "../src/target/ppc/cpu.js";
import { PPC_CPU_MODELS } from "../src/target/ppc/cpu-models.js";
import * as L from "../src/target/ppc/layout.js";
import { applyPpcModel, ppcTarget } from "../src/target/ppc/target.js";
// @ts-expect-error: a script without declarations
import { buildRuntime } from "../tools/build-runtime.mjs";

const root = fileURLToPath(new URL("..", import.meta.url));
let module: WebAssembly.Module | undefined;

/** The compiled PowerPC runtime, built when sources are newer. */
export function ppcRuntime(): WebAssembly.Module {
  if (!module) {
    const out = path.join(root, "dist/runtime/ppc.wasm");
    buildRuntime("src/target/ppc/runtime/index.ts", out, { ifNewer: true });
    module = new WebAssembly.Module(readFileSync(out));
  }
  return module;
}

export interface PpcRigOptions {
  readonly tier: 0 | 1;
  readonly threshold?: number;
  readonly model?: string;
  readonly ramBytes?: number;
  readonly littleEndian?: boolean;
  readonly trace?: Trace;
}

const SF = 1n << 63n;
/** MSR of the programs: 64-bit, real mode, all facilities. */
export const RIG_MSR = SF | BigInt(L.MSR_ME | L.MSR_FP | L.MSR_VEC | L.MSR_VSX | L.MSR_RI);

export class PpcRig {
  readonly ram: GuestRam;
  readonly engine: TcgEngine<PpcBus>;
  readonly cpu: PpcCpu;
  readonly env: number;
  /** What `write` was given. */
  output: Uint8Array[] = [];
  exitCode: number | undefined;
  /** Hypercalls other than the programs' system calls. */
  onHypercall: ((cpu: PpcCpu) => void) | undefined;
  time = 0;
  deadline = Number.POSITIVE_INFINITY;
  readonly deviceLog: string[] = [];
  private nextPage: number;

  constructor(readonly o: PpcRigOptions) {
    const bytes = o.ramBytes ?? 16 << 20;
    this.ram = new GuestRam(ENGINE_BYTES, bytes);
    this.nextPage = this.ram.allocate("ram", bytes - 65536).hostOffset;
    const model = PPC_CPU_MODELS[o.model ?? "power9"]!;
    const bus: PpcBus = {
      physRead: (low, _high, size) => {
        this.deviceLog.push(`r${size} ${low.toString(16)}`);
        return 0x11223344;
      },
      physWrite: (low, _high, size, value) => {
        this.deviceLog.push(`w${size} ${low.toString(16)}=${value.toString(16)}`);
      },
      timeBase: () => (this.time += 8),
      hypercall: () => this.hypercall(),
      decrementerSet: (_cpu, deadline) => {
        this.deadline = deadline;
      },
      random: (out) => out.fill(4),
    };
    this.engine = new TcgEngine(this.ram, ppcTarget(model), ppcRuntime(), 1, bus, o.trace ?? new Trace(), true, {
      tier1: o.tier === 1,
      synchronous: true,
      threshold: o.threshold ?? 2,
    });
    this.cpu = new PpcCpu(this.engine, 0);
    this.env = this.engine.envOf(0);
    applyPpcModel(this.ram.u32, this.env, model);
    this.cpu.reset();
    // Both byte orders: interrupts come in the order of the program.
    if (o.littleEndian !== false) this.cpu.lpcr = BigInt(L.LPCR_ILE);
    this.map(0, 0x10000);
    // Any interrupt but a system call ends the run.
    for (let v = 0x100; v < 0x1000; v += 0x20) this.poke32(v, 0x44000022);
    // sc at 0xc00: sc 1; rfid
    this.poke32(0xc00, 0x44000022);
    this.poke32(0xc04, 0x4c000024);
  }

  /** Puts zeroed pages of RAM at guest physical [at, at + size). */
  map(at: number, size: number): void {
    for (let p = at >>> 12; p <= (at + size - 1) >>> 12; p++) {
      if (this.ram.u32[(PHYS_MAP >>> 2) + p]) continue;
      if (this.nextPage + 4096 > this.ram.u8.length) throw new Error("rig out of memory");
      this.ram.u32[(PHYS_MAP >>> 2) + p] = this.nextPage | MAP_RAM;
      this.nextPage += 4096;
    }
    this.engine.mapChanged();
  }

  host(phys: number): number {
    return (this.ram.u32[(PHYS_MAP >>> 2) + (phys >>> 12)]! & ~0xfff) + (phys & 0xfff);
  }

  /** An instruction word (or other 32 bits) in the program's byte order. */
  poke32(phys: number, word: number): void {
    this.ram.view.setUint32(this.host(phys), word, this.o.littleEndian !== false);
  }

  bytes(phys: number, length: number): Uint8Array {
    const out = new Uint8Array(length);
    for (let i = 0; i < length; i++) out[i] = this.ram.u8[this.host(phys + i)]!;
    return out;
  }

  write(phys: number, data: Uint8Array): void {
    for (let i = 0; i < data.length; i++) this.ram.u8[this.host(phys + i)] = data[i]!;
  }

  /** Loads a static ELF and prepares the vCPU to run it. */
  loadElf(file: Uint8Array): void {
    const le = file[5] === 1;
    const v = new DataView(file.buffer, file.byteOffset, file.length);
    const entry = Number(v.getBigUint64(24, le));
    const phoff = Number(v.getBigUint64(32, le));
    for (let i = 0; i < v.getUint16(56, le); i++) {
      const p = phoff + i * v.getUint16(54, le);
      if (v.getUint32(p, le) !== 1) continue;
      const offset = Number(v.getBigUint64(p + 8, le));
      const at = Number(v.getBigUint64(p + 16, le));
      const size = Number(v.getBigUint64(p + 32, le));
      this.map(at, Number(v.getBigUint64(p + 40, le)));
      this.write(at, file.subarray(offset, offset + size));
    }
    this.map(0xf0000000, 0x20000);
    // Big-endian ELFv1 would name a descriptor; the programs here are bare.
    this.cpu.start(BigInt(entry), 0n, RIG_MSR | (le ? 1n : 0n));
    this.cpu.setGpr(1, 0xf001ff00);
  }

  private hypercall(): void {
    const number = this.cpu.arg(0);
    if (this.cpu.reg("nip") !== 0xc04n) {
      if (this.onHypercall) this.onHypercall(this.cpu);
      else {
        const vector = Number(this.cpu.reg("nip")) - 4;
        const at = `srr0 ${this.cpu.reg("srr0").toString(16)} srr1 ${this.cpu.reg("srr1").toString(16)} dar ${this.cpu.reg("dar").toString(16)}`;
        throw new Error(`interrupt ${vector.toString(16)}: ${at}`);
      }
      return;
    }
    if (number === 4) {
      this.output.push(this.bytes(this.cpu.arg(4), this.cpu.arg(5)));
      this.cpu.setGpr(3, this.cpu.gpr(5));
    } else if (number === 1 || number === 234) {
      this.exitCode = this.cpu.arg(3) & 255;
      this.cpu.stop();
    } else {
      if (this.onHypercall) this.onHypercall(this.cpu);
      else throw new Error(`system call ${number}`);
    }
  }

  /** Runs until exit. @throws Error after `limit` instructions */
  run(limit = 1e9): number {
    let used = 0;
    while (used < limit) {
      const end = this.engine.run(0, 1_000_000);
      used += this.engine.lastUsed;
      if (this.exitCode !== undefined) return used;
      if (end === "halted") throw new Error(`halted at ${this.cpu.reg("nip").toString(16)}`);
    }
    throw new Error(`no end after ${used} instructions, nip ${this.cpu.reg("nip").toString(16)}`);
  }

  get outputBytes(): Uint8Array {
    return Buffer.concat(this.output);
  }
}

/**
 * The host's processor as reference: records for host-oracle.c and their results. Where there is no gcc or no x86-64
 * host, `hostOracle()` is undefined and tests fall back on captured rows.
 *
 * Request (256 bytes): 0 kind (0 x87, 1 SSE), 1 length and 2.. bytes of the instruction, 16 EFLAGS, 20 MXCSR; x87: 32
 * FSAVE image (108 bytes); SSE: 32 XMM0, 48 XMM1, 64 RAX, 72 RCX, 80 RDX; 144 memory operand (16 bytes, at RSI).
 * Result: 0 signal, 8 RFLAGS, 16 RAX, 24 MXCSR, 32 FSAVE image or XMM0, 64 RCX (SSE), 144 memory operand.
 */
import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";

export const RECORD = 256;
export const AT_FLAGS = 16;
export const AT_MXCSR_IN = 20;
export const AT_IMAGE = 32;
export const AT_XMM0 = 32;
export const AT_XMM1 = 48;
export const AT_RAX_IN = 64;
export const AT_RCX = 72;
export const AT_RDX = 80;
export const AT_MEMORY = 144;
export const AT_FLAGS_OUT = 8;
export const AT_RAX_OUT = 16;
export const AT_MXCSR_OUT = 24;
export const AT_RCX_OUT = 64;
export const KIND_X87 = 0;
export const KIND_SSE = 1;

const source = fileURLToPath(new URL("./host-oracle.c", import.meta.url));
const root = fileURLToPath(new URL("../../../..", import.meta.url));

/** Runs all records on the host; undefined when that is not possible here. */
export function hostOracle(): ((records: Uint8Array) => Uint8Array) | undefined {
  if (process.arch !== "x64" || process.platform !== "linux") return undefined;
  const binary = path.join(root, "dist/runtime/host-oracle");
  try {
    const built = statSync(binary, { throwIfNoEntry: false });
    if (!built || built.mtimeMs < statSync(source).mtimeMs) {
      mkdirSync(path.dirname(binary), { recursive: true });
      execFileSync("gcc", ["-O1", "-o", binary, source], { stdio: "pipe" });
    }
  } catch {
    return undefined;
  }
  return (records) => {
    const done = spawnSync(binary, { input: records, maxBuffer: 1 << 30 });
    if (done.status !== 0 || done.stdout.length !== records.length) {
      throw new Error(`host oracle: status ${done.status} signal ${done.signal}, ${done.stdout.length / RECORD} results`);
    }
    return new Uint8Array(done.stdout);
  };
}

/** xorshift32: the same stream everywhere. */
export class Random {
  constructor(private state: number) {}
  u32(): number {
    let x = this.state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.state = x;
    return x >>> 0;
  }
  /** 0 .. n - 1. */
  below(n: number): number {
    return this.u32() % n;
  }
  u64(): bigint {
    return (BigInt(this.u32()) << 32n) | BigInt(this.u32());
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T;
  }
}

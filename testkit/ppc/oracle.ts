/**
 * Rows of state for PowerPC instructions, run by qemu-ppc64le (user mode) and by the translator's tiers: one program
 * (harness.S) does them all, so that the three differ only in who executes it.
 */
import { execFileSync } from "node:child_process";
import { copyFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { disassemble } from "../../src/target/ppc/disassemble.js";
import type { PackageFile } from "../debian.js";
import { PpcRig } from "../ppc-rig.js";

const RECORD = 2048;
const STUB = 64;
const STUBS_AT = 0x10100000;
const DONE_AT = 0x10000400;
/** The work record's address (r1), and that of its 256 bytes for memory operands. */
export const WORK_AT = 0x20000000;
export const MEMORY_AT = WORK_AT + 1344;
export const MEMORY_BYTES = 256;

/** State before a case; what is left out is zero. */
export interface PpcCase {
  /** Instruction words, at most 15. */
  readonly code: readonly number[];
  /** r1 is the harness's. */
  readonly gpr: readonly bigint[];
  /** Doubleword 0 and 1 of VSR0-63. */
  readonly vsr: readonly bigint[];
  readonly cr: number;
  readonly xer: bigint;
  readonly lr: bigint;
  readonly ctr: bigint;
  readonly fpscr: bigint;
  /** NJ and SAT. */
  readonly vscr: number;
  readonly memory: Uint8Array;
}

export interface PpcState {
  readonly record: DataView;
  readonly le: boolean;
}

/** Tools by byte order: packages binutils-powerpc64le-linux-gnu, binutils-powerpc64-linux-gnu, qemu-user. */
const TOOLS = { little: ["powerpc64le-linux-gnu", "qemu-ppc64le"], big: ["powerpc64-linux-gnu", "qemu-ppc64"] } as const;
export type ByteOrder = keyof typeof TOOLS;

/** The package without which no rows can be run. */
export function assemblerOf(order: ByteOrder): PackageFile {
  const [prefix] = TOOLS[order];
  return { package: `binutils-${prefix}`, path: `/usr/bin/${prefix}-ld` };
}

/** The program of all cases, as an ELF file's path in a new folder. */
function program(cases: readonly PpcCase[], passes: number, order: ByteOrder): { folder: string; elf: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "ppc-oracle-"));
  const le = order === "little";
  const records = new Uint8Array(RECORD * (cases.length + 1));
  const v = new DataView(records.buffer);
  v.setBigUint64(0, BigInt(cases.length), le);
  v.setBigUint64(8, BigInt(passes), le);
  const stubs = new Uint8Array(STUB * cases.length);
  const s = new DataView(stubs.buffer);
  for (const [n, c] of cases.entries()) {
    const at = RECORD * (n + 1);
    const put = (o: number, x: bigint) => v.setBigUint64(at + o, BigInt.asUintN(64, x), le);
    for (let i = 0; i < 32; i++) put(i * 8, c.gpr[i] ?? 0n);
    put(8, BigInt(WORK_AT));
    put(256, BigInt(c.cr >>> 0));
    put(264, c.xer);
    put(272, c.lr);
    put(280, c.ctr);
    put(288, c.fpscr);
    v.setUint32(at + (le ? 304 : 316), c.vscr, le);
    for (let i = 0; i < 128; i++) put(320 + i * 8, c.vsr[i] ?? 0n);
    records.set(c.memory.subarray(0, MEMORY_BYTES), at + 1344);
    for (const [i, word] of c.code.entries()) s.setUint32(n * STUB + i * 4, word, le);
    const from = STUBS_AT + n * STUB + c.code.length * 4;
    s.setUint32(n * STUB + c.code.length * 4, (0x48000000 | ((DONE_AT - from) & 0x03fffffc)) >>> 0, le);
  }
  writeFileSync(path.join(folder, "cases.bin"), records);
  writeFileSync(path.join(folder, "stubs.bin"), stubs);
  copyFileSync(fileURLToPath(new URL("harness.S", import.meta.url)), path.join(folder, "harness.S"));
  const run = (tool: string, ...args: string[]) => execFileSync(tool, args, { cwd: folder, stdio: "pipe" });
  const [prefix] = TOOLS[order];
  run(`${prefix}-as`, "-mpower9", "-o", "harness.o", "harness.S");
  const sections = [".text=0x10000000", ".work=0x20000000", ".cases=0x21000000", ".stubs=0x10100000"];
  run(`${prefix}-ld`, ...sections.map((x) => `--section-start=${x}`), "-o", "harness", "harness.o");
  return { folder, elf: path.join(folder, "harness") };
}

function split(output: Uint8Array, count: number, le: boolean): PpcState[] {
  if (output.length !== count * RECORD) throw new Error(`harness wrote ${output.length} bytes, wanted ${count * RECORD}`);
  const v = new DataView(output.buffer, output.byteOffset, output.length);
  return Array.from({ length: count }, (_, i) => ({ record: new DataView(v.buffer, v.byteOffset + i * RECORD, RECORD), le }));
}

export interface Runs {
  readonly qemu?: PpcState[];
  readonly tiers: [PpcState[], PpcState[]];
}

/** Runs all cases everywhere: on both tiers, and on QEMU where it is installed. */
export function runCases(cases: readonly PpcCase[], model = "power9", order: ByteOrder = "little"): Runs {
  const le = order === "little";
  const { folder, elf } = program(cases, 3, order);
  try {
    const file = readFileSync(elf);
    const tiers = ([0, 1] as const).map((tier) => {
      const rig = new PpcRig({ tier, model, ramBytes: 64 << 20, littleEndian: le });
      rig.loadElf(file);
      rig.run(2_000_000 + cases.length * 20_000);
      return split(rig.outputBytes, cases.length, le);
    }) as [PpcState[], PpcState[]];
    if (!existsSync(`/usr/bin/${TOOLS[order][1]}`)) return { tiers };
    const out = execFileSync(TOOLS[order][1], ["-cpu", model, elf], { maxBuffer: 1 << 30 });
    return { qemu: split(out, cases.length, le), tiers };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const hex = (v: bigint) => v.toString(16).padStart(16, "0");

/** Bits and places that are not compared. */
export interface Leeway {
  readonly fpscr?: bigint;
  readonly cr?: bigint;
  /** Doubleword 1 of VSRs: undefined after some scalar moves. */
  readonly low?: boolean;
}

/** Names of what differs between two states, with both values. */
export function differences(a: PpcState, b: PpcState, mask: Leeway = {}): string[] {
  const out: string[] = [];
  const compare = (name: string, offset: number, m = -1n) => {
    const x = a.record.getBigUint64(offset, a.le) & m;
    const y = b.record.getBigUint64(offset, b.le) & m;
    if (x !== y) out.push(`${name} ${hex(BigInt.asUintN(64, x))} ${hex(BigInt.asUintN(64, y))}`);
  };
  for (let i = 0; i < 32; i++) if (i !== 1) compare(`r${i}`, i * 8);
  compare("cr", 256, mask.cr);
  compare("xer", 264);
  compare("lr", 272);
  compare("ctr", 280);
  compare("fpscr", 288, mask.fpscr);
  compare("vscr", a.le ? 304 : 312, 0xffffffffn);
  for (let i = 0; i < 64; i++) {
    compare(`vs${i}.0`, 320 + i * 16);
    if (!mask.low) compare(`vs${i}.1`, 328 + i * 16);
  }
  for (let i = 0; i < MEMORY_BYTES / 8; i++) compare(`mem+${(i * 8).toString(16)}`, 1344 + i * 8);
  return out;
}

/** A case as text: its listing and the registers its words name. */
export function describe(c: PpcCase): string {
  const lines = c.code.map((w, i) => `  ${(w >>> 0).toString(16).padStart(8, "0")}  ${disassemble(w, BigInt(i * 4)).text}`);
  const regs = [...new Set(c.code.flatMap((w) => [(w >>> 21) & 31, (w >>> 16) & 31, (w >>> 11) & 31, (w >>> 6) & 31]))];
  lines.push(`  ${regs.map((r) => `r${r}=${hex(c.gpr[r] ?? 0n)}`).join(" ")}`);
  for (const r of regs)
    for (const n of [r, r + 32]) lines.push(`  vs${n}=${hex(c.vsr[n * 2] ?? 0n)}:${hex(c.vsr[n * 2 + 1] ?? 0n)}`);
  lines.push(`  cr=${c.cr.toString(16)} xer=${c.xer.toString(16)} fpscr=${c.fpscr.toString(16)} vscr=${c.vscr.toString(16)}`);
  return lines.join("\n");
}

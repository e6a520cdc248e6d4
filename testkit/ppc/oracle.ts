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
}

const ELSEWHERE = ["powerpc64le-linux-gnu-as", "powerpc64le-linux-gnu-ld", "qemu-ppc64le"];

/** Whether the oracle's tools are installed (packages gcc-powerpc64le-linux-gnu, qemu-user). */
export function oracleAvailable(): boolean {
  return ELSEWHERE.every((tool) => existsSync(`/usr/bin/${tool}`));
}

/** The program of all cases, as an ELF file's path in a new folder. */
export function program(cases: readonly PpcCase[], passes: number): { folder: string; elf: string } {
  const folder = mkdtempSync(path.join(tmpdir(), "ppc-oracle-"));
  const records = new Uint8Array(RECORD * (cases.length + 1));
  const v = new DataView(records.buffer);
  v.setBigUint64(0, BigInt(cases.length), true);
  v.setBigUint64(8, BigInt(passes), true);
  const stubs = new Uint8Array(STUB * cases.length);
  const s = new DataView(stubs.buffer);
  for (const [n, c] of cases.entries()) {
    const at = RECORD * (n + 1);
    const put = (o: number, x: bigint) => v.setBigUint64(at + o, BigInt.asUintN(64, x), true);
    for (let i = 0; i < 32; i++) put(i * 8, c.gpr[i] ?? 0n);
    put(8, BigInt(WORK_AT));
    put(256, BigInt(c.cr >>> 0));
    put(264, c.xer);
    put(272, c.lr);
    put(280, c.ctr);
    put(288, c.fpscr);
    v.setUint32(at + 304, c.vscr, true);
    for (let i = 0; i < 128; i++) put(320 + i * 8, c.vsr[i] ?? 0n);
    records.set(c.memory.subarray(0, MEMORY_BYTES), at + 1344);
    for (const [i, word] of c.code.entries()) s.setUint32(n * STUB + i * 4, word, true);
    const from = STUBS_AT + n * STUB + c.code.length * 4;
    s.setUint32(n * STUB + c.code.length * 4, (0x48000000 | ((DONE_AT - from) & 0x03fffffc)) >>> 0, true);
  }
  writeFileSync(path.join(folder, "cases.bin"), records);
  writeFileSync(path.join(folder, "stubs.bin"), stubs);
  copyFileSync(fileURLToPath(new URL("harness.S", import.meta.url)), path.join(folder, "harness.S"));
  const run = (tool: string, ...args: string[]) => execFileSync(tool, args, { cwd: folder, stdio: "pipe" });
  run("powerpc64le-linux-gnu-as", "-mpower9", "-o", "harness.o", "harness.S");
  const sections = [".text=0x10000000", ".work=0x20000000", ".cases=0x21000000", ".stubs=0x10100000"];
  run("powerpc64le-linux-gnu-ld", ...sections.map((x) => `--section-start=${x}`), "-o", "harness", "harness.o");
  return { folder, elf: path.join(folder, "harness") };
}

function split(output: Uint8Array, count: number): PpcState[] {
  if (output.length !== count * RECORD) throw new Error(`harness wrote ${output.length} bytes, wanted ${count * RECORD}`);
  const v = new DataView(output.buffer, output.byteOffset, output.length);
  return Array.from({ length: count }, (_, i) => ({ record: new DataView(v.buffer, v.byteOffset + i * RECORD, RECORD) }));
}

export interface Runs {
  readonly qemu?: PpcState[];
  readonly tiers: [PpcState[], PpcState[]];
}

/** Runs all cases everywhere. */
export function runCases(cases: readonly PpcCase[], model = "power9", oracle = true): Runs {
  const { folder, elf } = program(cases, 3);
  try {
    const file = readFileSync(elf);
    const tiers = ([0, 1] as const).map((tier) => {
      const rig = new PpcRig({ tier, model, ramBytes: 64 << 20 });
      rig.loadElf(file);
      rig.run(2_000_000 + cases.length * 20_000);
      return split(rig.outputBytes, cases.length);
    }) as [PpcState[], PpcState[]];
    if (!oracle) return { tiers };
    const out = execFileSync("qemu-ppc64le", ["-cpu", model, elf], { maxBuffer: 1 << 30 });
    return { qemu: split(out, cases.length), tiers };
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const hex = (v: bigint) => v.toString(16).padStart(16, "0");

/** Names of what differs between two states, with both values. `ignore` takes names such as "fpscr". */
export function differences(a: PpcState, b: PpcState, mask: { readonly fpscr?: bigint; readonly xer?: bigint } = {}): string[] {
  const out: string[] = [];
  const compare = (name: string, offset: number, m = -1n) => {
    const x = a.record.getBigUint64(offset, true) & m;
    const y = b.record.getBigUint64(offset, true) & m;
    if (x !== y) out.push(`${name} ${hex(BigInt.asUintN(64, x))} ${hex(BigInt.asUintN(64, y))}`);
  };
  for (let i = 0; i < 32; i++) if (i !== 1) compare(`r${i}`, i * 8);
  compare("cr", 256);
  compare("xer", 264, mask.xer);
  compare("lr", 272);
  compare("ctr", 280);
  compare("fpscr", 288, mask.fpscr);
  compare("vscr", 304, 0xffffffffn);
  for (let i = 0; i < 64; i++) {
    compare(`vs${i}.0`, 320 + i * 16);
    compare(`vs${i}.1`, 328 + i * 16);
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

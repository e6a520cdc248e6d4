/** `x/i` of the pc machine: guest memory through the processor's eyes, in its present mode. */
import { disassemble } from "../target/x86/disassemble.js";
import type { DisassembledInsn } from "./board.js";

/** Longest x86 instruction. */
const MAX_INSN_BYTES = 15;

/** The mnemonic of an instruction whose bytes are known, for counting. */
export function mnemonicOf(bytes: Uint8Array, hflags: number): string {
  if (bytes.length === 0) return "unknown";
  return disassemble({ byte: (o) => bytes[o] ?? 0 }, 0, 0n, hflags).text.split(" ")[0]!;
}

/**
 * @param read reads bytes at an address; false where nothing is mapped
 * @param hflags mode bits of the vCPU (target/x86/layout.ts)
 * @returns fewer than `count` lines when memory ends
 */
export function disassembleAt(
  read: (address: bigint, out: Uint8Array) => boolean,
  address: bigint,
  count: number,
  hflags: number,
): readonly DisassembledInsn[] {
  const out: DisassembledInsn[] = [];
  const one = new Uint8Array(1);
  for (let at = address; out.length < count; ) {
    const bytes = new Uint8Array(MAX_INSN_BYTES);
    let known = bytes.length;
    if (!read(at, bytes)) {
      // The last bytes before an unmapped page.
      known = 0;
      while (known < bytes.length && read(BigInt.asUintN(64, at + BigInt(known)), one)) bytes[known++] = one[0]!;
    }
    if (known === 0) break;
    const d = disassemble({ byte: (o) => bytes[o] ?? 0 }, 0, at, hflags);
    if (d.length > known) break;
    out.push({ address: at, bytes: bytes.slice(0, d.length), text: d.text });
    at = BigInt.asUintN(64, at + BigInt(d.length));
  }
  return out;
}

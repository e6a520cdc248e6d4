/**
 * The format of an image by its first bytes, as QEMU guesses it when nobody says.
 * Formats that are recognized and not supported are refused rather than shown to a guest as a raw disk.
 */
import { isQcow2 } from "./qcow2/header.js";

/** How many bytes a guess needs. */
export const PROBE_BYTES = 512;

const MAGICS: readonly { readonly format: string; readonly at: number; readonly magic: readonly number[] }[] = [
  { format: "qcow", at: 0, magic: [0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 1] },
  { format: "vmdk", at: 0, magic: [0x4b, 0x44, 0x4d, 0x56] },
  { format: "vmdk", at: 0, magic: [0x43, 0x4f, 0x57, 0x44] },
  { format: "vdi", at: 0x40, magic: [0x7f, 0x10, 0xda, 0xbe] },
  { format: "vpc", at: 0, magic: [0x63, 0x6f, 0x6e, 0x65, 0x63, 0x74, 0x69, 0x78] },
  { format: "vhdx", at: 0, magic: [0x76, 0x68, 0x64, 0x78, 0x66, 0x69, 0x6c, 0x65] },
  { format: "qed", at: 0, magic: [0x51, 0x45, 0x44, 0x00] },
  { format: "luks", at: 0, magic: [0x4c, 0x55, 0x4b, 0x53, 0xba, 0xbe] },
  { format: "parallels", at: 0, magic: [...new TextEncoder().encode("WithoutFreeSpace")] },
  { format: "parallels", at: 0, magic: [...new TextEncoder().encode("WithouFreSpacExt")] },
];

/** @returns "raw" when nothing else fits */
export function probeFormat(head: Uint8Array): string {
  if (isQcow2(head)) return "qcow2";
  return MAGICS.find((f) => f.magic.every((b, i) => head[f.at + i] === b))?.format ?? "raw";
}

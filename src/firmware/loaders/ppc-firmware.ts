/** Firmware images of PowerPC machines: what is plainly not one is refused by name. */
import { isElf } from "./elf.js";
import { type ImageSource, imageError } from "./image.js";

const X86_RESET_VECTOR = 16;

/** Whether the last 16 bytes begin like an x86 reset vector: a far or near jump, or the first instructions of OVMF. */
function endsAsX86Bios(bytes: Uint8Array): boolean {
  if (bytes.length < X86_RESET_VECTOR || bytes.length % 65536) return false;
  const v = bytes.subarray(bytes.length - X86_RESET_VECTOR);
  // jmp far f000:xxxx
  if (v[0] === 0xea && v[3] === 0x00 && v[4] === 0xf0) return true;
  // jmp near, or OVMF's "nop; nop; jmp" and "mov eax, cr0"
  return v[0] === 0xe9 || (v[0] === 0x90 && v[1] === 0x90 && v[2] === 0xe9) || (v[0] === 0x0f && v[1] === 0x20 && v[2] === 0xc0);
}

/** @throws VmError "image/bad-format" | "image/wrong-architecture" | "image/too-large" */
export function checkPpcFirmware(image: ImageSource, limitBytes: number): void {
  const { bytes } = image;
  if (bytes.length === 0) throw imageError(image, "image/bad-format", "the file is empty");
  if (bytes.length > limitBytes)
    throw imageError(image, "image/too-large", `${bytes.length} bytes, the machine has room for ${limitBytes}`);
  if (endsAsX86Bios(bytes)) throw imageError(image, "image/wrong-architecture", "an x86 BIOS; this machine is PowerPC");
  if (bytes[0] === 0x55 && bytes[1] === 0xaa)
    throw imageError(image, "image/wrong-architecture", "an x86 option ROM; this machine is PowerPC");
  if (isElf(bytes)) throw imageError(image, "image/bad-format", "an ELF file; firmware is a plain image (use -kernel for ELF)");
}

/**
 * `-kernel` under firmware: an option ROM that the BIOS offers as a boot device, and the fw_cfg item behind it.
 *
 * The ROM asks the BIOS for the memory map (INT 15h, E820), selects item 0x801f, on which the machine puts the kernel into
 * guest memory, reads the processor state the kernel wants to start with out of that item, and loads it. So the kernel finds
 * memory as the BIOS left it, with PCI, interrupt routing, ACPI, SMBIOS and the screen set up.
 *
 * Sources: Plug and Play BIOS Specification 1.0A, 3.2 (option ROM header, bootstrap entry vector); Intel SDM vol 3, 9.9.1
 * (switch to protected mode). The ROM is our own code.
 */
import { VmError } from "../base/errors.js";
import type { AddressSpace } from "../memory/address-space.js";
import { BOOT_CS, type BootPlan, type BootState } from "./boot-state.js";
import { ByteWriter, checksumByte } from "./bytes.js";
import { type E820Entry, E820Type } from "./e820.js";
import { FW_CFG_PORT, type FwCfg } from "./fw-cfg.js";

/** The file in the firmware's directory, and its path for the boot order. */
export const BOOT_ROM_FILE = "genroms/tandemboot.bin";
/** The item that places the kernel; local to the architecture, not used by QEMU. */
export const BOOT_ROM_KEY = 0x801f;

/** Where the ROM leaves the map: a count, then at +8 entries of 20 bytes. */
const MAP_AT = 0x8000;
const MAP_ENTRIES_AT = MAP_AT + 8;
const MAP_MAX = 128;
/** Where the ROM reads the state to. */
const STATE_AT = 0x500;
const STATE_BYTES = 64;
const Mode = { real: 0, protected: 1, failed: 2 } as const;
/** Offsets in the state, used by the ROM's code below. */
const StateField = { mode: 0, ip: 4, registers: 8, cs: 40, segments: 42, gdtr: 48, farPointer: 56 } as const;

const lo = (n: number): number => n & 255;
const hi = (n: number): number => (n >> 8) & 255;
const at = (field: number): [number, number] => [lo(STATE_AT + field), hi(STATE_AT + field)];

/** The bootstrap code, 16-bit: bytes and what they are. Jumps are relative to the next row. */
const CODE: readonly (readonly [bytes: readonly number[], text: string])[] = [
  [[0xfc], "cld"],
  [[0x31, 0xc0], "xor ax, ax"],
  [[0x8e, 0xd8], "mov ds, ax"],
  [[0x8e, 0xc0], "mov es, ax"],
  [[0xbf, lo(MAP_ENTRIES_AT), hi(MAP_ENTRIES_AT)], "mov di, entries"],
  [[0x66, 0x31, 0xdb], "xor ebx, ebx"],
  [[0x31, 0xf6], "xor si, si"],
  [[0x66, 0xb8, 0x20, 0xe8, 0x00, 0x00], "next: mov eax, 0xe820"],
  [[0x66, 0xb9, 0x14, 0x00, 0x00, 0x00], "mov ecx, 20"],
  [[0x66, 0xba, 0x50, 0x41, 0x4d, 0x53], "mov edx, 'SMAP'"],
  [[0xcd, 0x15], "int 0x15"],
  [[0x72, 0x0f], "jc done"],
  [[0x83, 0xc7, 0x14], "add di, 20"],
  [[0x46], "inc si"],
  [[0x81, 0xfe, lo(MAP_MAX), hi(MAP_MAX)], "cmp si, 128"],
  [[0x73, 0x05], "jae done"],
  [[0x66, 0x85, 0xdb], "test ebx, ebx"],
  [[0x75, 0xdb], "jnz next"],
  [[0x89, 0x36, lo(MAP_AT), hi(MAP_AT)], "done: mov [count], si"],
  [[0xba, lo(FW_CFG_PORT), hi(FW_CFG_PORT)], "mov dx, 0x510"],
  [[0xb8, lo(BOOT_ROM_KEY), hi(BOOT_ROM_KEY)], "mov ax, key"],
  [[0xef], "out dx, ax"],
  [[0x42], "inc dx"],
  [[0xbf, ...at(0)], "mov di, state"],
  [[0xb9, STATE_BYTES, 0x00], "mov cx, 64"],
  [[0xf3, 0x6c], "rep insb"],
  [[0xa0, ...at(StateField.mode)], "mov al, [mode]"],
  [[0x3c, Mode.failed], "cmp al, 2"],
  [[0x74, 0x6a], "je failed"],
  [[0xfa], "cli"],
  [[0x3c, Mode.real], "cmp al, 0"],
  [[0x75, 0x1e], "jne protected"],
  // Real mode: stack, then segments, then a far return to CS:IP.
  [[0xa1, ...at(StateField.segments)], "mov ax, [segments]"],
  [[0x8e, 0xd0], "mov ss, ax"],
  [[0x66, 0x8b, 0x26, ...at(StateField.registers + 28)], "mov esp, [esp]"],
  [[0xff, 0x36, ...at(StateField.cs)], "push word [cs]"],
  [[0xff, 0x36, ...at(StateField.ip)], "push word [ip]"],
  [[0xa1, ...at(StateField.segments)], "mov ax, [segments]"],
  [[0x8e, 0xd8], "mov ds, ax"],
  [[0x8e, 0xc0], "mov es, ax"],
  [[0x8e, 0xe0], "mov fs, ax"],
  [[0x8e, 0xe8], "mov gs, ax"],
  [[0xcb], "retf"],
  // Protected mode: flat data segments and registers first, while CS is still the real-mode one; then CS with the jump.
  [[0x66, 0x0f, 0x01, 0x16, ...at(StateField.gdtr)], "protected: lgdt [gdtr]"],
  [[0x0f, 0x20, 0xc0], "mov eax, cr0"],
  [[0x0c, 0x01], "or al, 1"],
  [[0x0f, 0x22, 0xc0], "mov cr0, eax"],
  [[0xb8, 0x18, 0x00], "mov ax, 0x18"],
  [[0x8e, 0xd8], "mov ds, ax"],
  [[0x8e, 0xc0], "mov es, ax"],
  [[0x8e, 0xe0], "mov fs, ax"],
  [[0x8e, 0xe8], "mov gs, ax"],
  [[0x8e, 0xd0], "mov ss, ax"],
  [[0x66, 0xa1, ...at(StateField.registers)], "mov eax, [eax]"],
  [[0x66, 0x8b, 0x1e, ...at(StateField.registers + 4)], "mov ebx, [ebx]"],
  [[0x66, 0x8b, 0x0e, ...at(StateField.registers + 8)], "mov ecx, [ecx]"],
  [[0x66, 0x8b, 0x16, ...at(StateField.registers + 12)], "mov edx, [edx]"],
  [[0x66, 0x8b, 0x36, ...at(StateField.registers + 16)], "mov esi, [esi]"],
  [[0x66, 0x8b, 0x3e, ...at(StateField.registers + 20)], "mov edi, [edi]"],
  [[0x66, 0x8b, 0x2e, ...at(StateField.registers + 24)], "mov ebp, [ebp]"],
  [[0x66, 0x8b, 0x26, ...at(StateField.registers + 28)], "mov esp, [esp]"],
  [[0x66, 0xff, 0x2e, ...at(StateField.farPointer)], "jmp far dword [far pointer]"],
  // INT 18h: this device does not boot, try the next.
  [[0xcd, 0x18], "failed: int 0x18"],
  [[0xeb, 0xfc], "jmp failed"],
];

const ROM_BYTES = 512;
const PNP_AT = 0x20;
const STRINGS_AT = 0x40;
const CODE_AT = 0x80;
const MANUFACTURER = "Tandem";
const PRODUCT = "Tandem -kernel";

/** The ROM: header, Plug and Play expansion header with the bootstrap entry vector, code. */
export function bootRom(): Uint8Array {
  const w = new ByteWriter(ROM_BYTES).u8(0x55, 0xaa, ROM_BYTES / 512);
  // Initialisation: nothing to do (retf).
  w.u8(0xcb)
    .zero(0x1a - 4)
    .u16(PNP_AT)
    .zero(PNP_AT - 0x1c);
  const product = STRINGS_AT + MANUFACTURER.length + 1;
  // Device class 2.0.80h as network boot ROMs have; indicators: option ROM may be shadowed, IPL device.
  w.text("$PnP", 4).u8(1, 2).u16(0).u8(0, 0).u32(0).u16(STRINGS_AT, product).u8(2, 0, 0x80, 0x14).u16(0, 0, CODE_AT, 0, 0);
  w.text(MANUFACTURER)
    .u8(0)
    .text(PRODUCT)
    .u8(0)
    .zero(CODE_AT - w.length);
  for (const [bytes] of CODE) w.bytes(bytes);
  w.zero(ROM_BYTES - w.length);
  const rom = w.finish();
  rom[PNP_AT + 9] = checksumByte(rom, PNP_AT, 32);
  rom[ROM_BYTES - 1] = checksumByte(rom);
  return rom;
}

/** The state as the ROM reads it; without one, the ROM goes on to the next boot device. */
export function encodeBootState(state: BootState | undefined): Uint8Array {
  const bytes = new Uint8Array(STATE_BYTES);
  const view = new DataView(bytes.buffer);
  if (!state || state.cpuMode === "long64") {
    bytes[StateField.mode] = Mode.failed;
    return bytes;
  }
  const r = state.registers;
  [r.eax, r.ebx, r.ecx, r.edx, r.esi, r.edi, r.ebp, r.esp].forEach((v, i) => {
    view.setUint32(StateField.registers + 4 * i, v ?? 0, true);
  });
  if (state.cpuMode === "real16") {
    bytes[StateField.mode] = Mode.real;
    view.setUint16(StateField.ip, state.entry, true);
    view.setUint16(StateField.cs, state.segments?.cs ?? 0, true);
    view.setUint16(StateField.segments, state.segments?.ds ?? 0, true);
  } else {
    bytes[StateField.mode] = Mode.protected;
    view.setUint16(StateField.gdtr, state.gdt?.limit ?? 0, true);
    view.setUint32(StateField.gdtr + 2, state.gdt?.base ?? 0, true);
    view.setUint32(StateField.farPointer, state.entry, true);
    view.setUint16(StateField.farPointer + 4, BOOT_CS, true);
  }
  return bytes;
}

/** Reads the map that the ROM has left; the guest may have written anything, so types and lengths are taken as they are. */
export function readBiosMap(memory: AddressSpace): E820Entry[] {
  const count = Math.min(MAP_MAX, memory.read(MAP_AT, 2));
  const map: E820Entry[] = [];
  for (let i = 0; i < count; i++) {
    const entry = MAP_ENTRIES_AT + 20 * i;
    const u32 = (o: number) => memory.read(entry + o, 4);
    const type = u32(16);
    map.push({
      base: u32(0) + u32(4) * 2 ** 32,
      length: u32(8) + u32(12) * 2 ** 32,
      type: type === 0 ? E820Type.reserved : type,
    });
  }
  return map;
}

/**
 * Offers a kernel to the firmware as a boot device (list `BootPath.rom(BOOT_ROM_FILE)` first in the boot order).
 * The plan must start in `real16` or `protected32`.
 * @param onFailure told when the kernel does not fit the memory that the firmware has left; the guest boots on without it
 */
export function installBootRom(fwCfg: FwCfg, memory: AddressSpace, plan: BootPlan, onFailure: (error: VmError) => void): void {
  fwCfg.addFile(BOOT_ROM_FILE, bootRom());
  fwCfg.addItem(BOOT_ROM_KEY, encodeBootState(undefined), {
    onSelect: (replace) => {
      let state: BootState | undefined;
      try {
        state = plan.place({ memory, map: readBiosMap(memory), vgaText: true });
      } catch (e) {
        if (!(e instanceof VmError)) throw e;
        onFailure(e);
      }
      replace(encodeBootState(state));
    },
  });
}

/**
 * pc-testdev: the helper device of kvm-unit-tests on a PC.
 *
 * Source: the tests' own use of it.
 *   E0h-E3h    a 32-bit latch: reads give what was written, at any width and offset
 *   E4h-E7h    a write names a guest page whose translation the host is to drop (nothing to do here: a callback)
 *   E8h-EBh    four byte latches, reached only byte by byte (string and split accesses)
 *   2000h+n    a write sets global system interrupt n (0 to 23) to value != 0
 *   FF00_0000h 64 KiB of device memory
 *
 * *Not emulated*: the tests' console at F1h and exit at F4h: those are isa-debugcon and isa-debug-exit at these ports.
 */
import type { AccessSize, AddressSpace, IoHandler } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import type { IrqLine } from "../core/irq.js";

const LATCH = 0xe0;
const FLUSH = 0xe4;
const BYTES = 0xe8;
const IRQ_LINES = 0x2000;
const LINES = 24;
const MEMORY = 0xff000000;
const MEMORY_SIZE = 0x10000;

const truncate = (v: number, size: AccessSize) => (size === 4 ? v >>> 0 : v & (size === 2 ? 0xffff : 0xff));

export interface PcTestdevOptions {
  readonly id?: string | undefined;
  /** Global system interrupts 0 to 23. */
  readonly gsi: readonly IrqLine[];
  /** A guest physical page was named at E4h. */
  readonly onFlushPage?: (address: number) => void;
}

export class PcTestdev implements Device {
  readonly type = "pc-testdev";
  readonly id: string | undefined;
  private latch = 0;
  private readonly bytes = new Uint8Array(4);
  private readonly memory = new Uint8Array(MEMORY_SIZE);
  private readonly view = new DataView(this.memory.buffer);

  constructor(private readonly options: PcTestdevOptions) {
    this.id = options.id;
  }

  map(io: AddressSpace, memory: AddressSpace): void {
    const handler = (name: string, read: IoHandler["read"], write: IoHandler["write"], maxAccess: AccessSize = 4): IoHandler => ({
      name: `pc-testdev-${name}`,
      maxAccess,
      read,
      write,
    });
    io.mapIo(
      LATCH,
      4,
      handler(
        "ioport",
        (offset, size) => truncate(this.latch >>> (8 * offset), size),
        (offset, size, value) => {
          const mask = truncate(0xffffffff, size) << (8 * offset);
          this.latch = ((this.latch & ~mask) | ((value << (8 * offset)) & mask)) >>> 0;
        },
      ),
    );
    io.mapIo(
      FLUSH,
      4,
      handler(
        "flush-page",
        () => 0,
        (_offset, _size, value) => this.options.onFlushPage?.((value & ~0xfff) >>> 0),
      ),
    );
    io.mapIo(
      BYTES,
      4,
      handler(
        "ioport-byte",
        (offset) => this.bytes[offset]!,
        (offset, _size, value) => {
          this.bytes[offset] = value;
        },
        1,
      ),
    );
    io.mapIo(
      IRQ_LINES,
      LINES,
      handler(
        "irq-line",
        () => 0,
        (offset, _size, value) => this.options.gsi[offset]?.set(value !== 0),
        1,
      ),
    );
    memory.mapIo(
      MEMORY,
      MEMORY_SIZE,
      handler(
        "iomem",
        (offset, size) =>
          size === 1 ? this.memory[offset]! : size === 2 ? this.view.getUint16(offset, true) : this.view.getUint32(offset, true),
        (offset, size, value) => {
          if (size === 1) this.memory[offset] = value;
          else if (size === 2) this.view.setUint16(offset, value, true);
          else this.view.setUint32(offset, value, true);
        },
      ),
    );
  }

  reset(): void {
    this.latch = 0;
    this.bytes.fill(0);
    this.memory.fill(0);
    for (const line of this.options.gsi) line.lower();
  }

  save(): DeviceState {
    return {
      latch: this.latch,
      bytes: this.bytes.slice(),
      memory: this.memory.slice(),
      gsi: this.options.gsi.map((l) => l.level),
    };
  }

  restore(s: DeviceState): void {
    this.latch = s.latch as number;
    this.bytes.set((s.bytes as Uint8Array).subarray(0, 4));
    this.memory.set((s.memory as Uint8Array).subarray(0, MEMORY_SIZE));
    (s.gsi as boolean[]).forEach((level, n) => {
      const line = this.options.gsi[n];
      if (line) line.level = level;
    });
  }
}

export const pcTestdevType: DeviceType = {
  name: "pc-testdev",
  aliases: [],
  bus: "isa",
  category: "misc",
  description: "helper of kvm-unit-tests",
  properties: [],
};

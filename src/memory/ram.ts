/** Guest RAM: one WebAssembly.Memory a machine, shared by both engines. */
import { VmError } from "../base/errors.js";

const WASM_PAGE = 65536;
/** 4 GiB: what 32-bit addresses reach. */
const WASM_PAGES_MAX = 65536;
const PAGE = 4096;

/** A piece of the memory: RAM, ROM or video RAM. */
export interface RamBlock {
  readonly name: string;
  /** Byte offset in the WebAssembly.Memory, page-aligned. */
  readonly hostOffset: number;
  readonly sizeBytes: number;
}

/**
 * The one memory: engine data low, guest blocks above. It is allocated at its full size at the start and never grows,
 * so typed-array views stay valid.
 */
export class GuestRam {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly view: DataView;
  readonly blocks: RamBlock[] = [];
  private next: number;

  /**
   * @param engineBytes bytes kept free at the bottom for the engine
   * @param guestBytes bytes for all guest blocks together
   * @throws VmError "memory/too-large" when the total exceeds what one WebAssembly.Memory or the host gives
   */
  constructor(
    readonly engineBytes: number,
    guestBytes: number,
    shared = true,
  ) {
    const pages = Math.ceil((engineBytes + guestBytes + PAGE) / WASM_PAGE);
    if (pages > WASM_PAGES_MAX) {
      const mib = (bytes: number) => Math.ceil(bytes / 2 ** 20);
      const most = WASM_PAGES_MAX * WASM_PAGE - engineBytes - PAGE;
      throw new VmError(
        "memory/too-large",
        `guest memory with firmware and video memory is ${mib(guestBytes)} MiB, one WebAssembly memory has room for ${mib(most)}`,
      );
    }
    try {
      this.memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared });
    } catch (cause) {
      throw new VmError("memory/too-large", `cannot allocate ${guestBytes} bytes of guest memory on this host`, { cause });
    }
    const buffer = this.memory.buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.view = new DataView(buffer);
    this.next = (engineBytes + PAGE - 1) & -PAGE;
  }

  /** Takes a page-aligned block. @throws VmError "memory/exhausted" */
  allocate(name: string, sizeBytes: number): RamBlock {
    const size = Math.ceil(sizeBytes / PAGE) * PAGE;
    if (this.next + size > this.u8.length) throw new VmError("memory/exhausted", `no room for ${name} (${sizeBytes} bytes)`);
    const block = { name, hostOffset: this.next, sizeBytes: size };
    this.next += size;
    this.blocks.push(block);
    return block;
  }

  /** The bytes of a block, as a view (no copy). */
  bytes(block: RamBlock): Uint8Array {
    return this.u8.subarray(block.hostOffset, block.hostOffset + block.sizeBytes);
  }
}

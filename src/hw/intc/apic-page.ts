/**
 * The memory face of the local APICs: each processor sees its own registers at its IA32_APIC_BASE, and writes by devices
 * to FEE0_0000h to FEEF_FFFFh are message-signalled interrupts.
 *
 * Source: Intel SDM vol. 3, 11.4.1 "The local APIC block diagram" (register map), 11.11.1 "Message address register".
 *
 * Both share one mapping of 1 MiB: an MSI lies beyond the first page or, for destination 0, in bytes 0 to 15, where the
 * xAPIC has no register.
 *
 * *Not emulated*: a different base for each processor: the page lies where the processor that last wrote IA32_APIC_BASE
 * has put it, and only an access through it reaches registers. Accesses other than aligned 32-bit ones read the bytes of
 * the register and write nothing (the SDM leaves them undefined).
 */
import type { AccessSize, AddressSpace, IoHandler, Mapping } from "../../memory/address-space.js";
import type { DeviceContext } from "../core/device.js";
import { APIC_DEFAULT_BASE, type Apic } from "./apic.js";
import type { ApicBus } from "./apic-bus.js";

const WINDOW = 0x100000;
const PAGE = 0x1000;
/** Hides RAM and everything else a guest may put it over. */
const PRIORITY = 0x1000;

export class ApicPage implements IoHandler {
  readonly name = "apic-msi";
  private memory: AddressSpace | undefined;
  private msi: Mapping | undefined;
  private page: Mapping | undefined;

  /** @param apics by processor index @param currentCpu index of the processor that makes the access */
  constructor(
    private readonly ctx: DeviceContext,
    private readonly bus: ApicBus,
    private readonly apics: readonly Apic[],
    private readonly currentCpu: () => number,
  ) {
    for (const apic of apics) apic.onBaseChange = () => this.move(apic);
  }

  map(memory: AddressSpace): void {
    this.memory = memory;
    this.msi = memory.mapIo(APIC_DEFAULT_BASE, WINDOW, this, { priority: PRIORITY });
  }

  /** Follows IA32_APIC_BASE: at the default place the window does both, elsewhere the page has a mapping of its own. */
  private move(apic: Apic): void {
    const { memory } = this;
    if (!memory) return;
    const at = apic.enabled && !apic.x2 && apic.baseAddress !== APIC_DEFAULT_BASE ? apic.baseAddress : undefined;
    if (at === this.page?.base) return;
    memory.batch(() => {
      if (this.page) memory.unmap(this.page);
      this.page = at === undefined ? undefined : memory.mapIo(at, PAGE, this, { priority: PRIORITY + 1, name: "apic" });
    });
  }

  /** The mapping of the MSI window, for `info mtree`. */
  get mapping(): Mapping | undefined {
    return this.msi;
  }

  private current(): Apic | undefined {
    const apic = this.apics[this.currentCpu()];
    return apic?.enabled && !apic.x2 ? apic : undefined;
  }

  read(offset: number, size: AccessSize): number {
    const apic = offset < PAGE ? this.current() : undefined;
    if (!apic) return size === 4 ? 0xffffffff : size === 2 ? 0xffff : 0xff;
    const byte = offset & 15;
    if (byte >= 4) return 0;
    const value = apic.readXapic(offset >> 4) >>> (8 * byte);
    return size === 4 ? value : value & (size === 2 ? 0xffff : 0xff);
  }

  write(offset: number, size: AccessSize, value: number): void {
    if (offset >= PAGE || offset < 0x10) {
      if (size === 4) this.bus.deliverMsi(APIC_DEFAULT_BASE + offset, value >>> 0);
      else this.ctx.trace.guestError("apic", () => `MSI write of ${size} bytes`);
      return;
    }
    if (size !== 4 || offset & 15) {
      this.ctx.trace.guestError("apic", () => `write of ${size} bytes at ${offset.toString(16)}`);
      return;
    }
    this.current()?.writeXapic(offset >> 4, value >>> 0);
  }
}

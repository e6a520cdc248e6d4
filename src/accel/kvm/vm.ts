/**
 * A VM of KVM: memory slots that follow the machine's memory map, and what belongs to the whole VM.
 *
 * Guest RAM is the machine's one WebAssembly.Memory: KVM gets its host address, so that devices and TCG see the guest's
 * stores at once and the other way round.
 */
import { VmError } from "../../base/errors.js";
import type { HostSyscalls } from "../../host/syscalls.js";
import type { AddressSpace, FlatRange } from "../../memory/address-space.js";
import type { GuestRam } from "../../memory/ram.js";
import { type KvmDevice, strerror } from "./device.js";
import { CAPABILITIES, type CapabilityName, MSR_EXIT, Vm } from "./ioctls.js";
import { Struct, structOf } from "./layout.js";
import { DIRTY_LOG, ENABLE_CAP, MEM, MEMORY_REGION, MSR_FILTER, MSR_FILTER_RANGE } from "./structs.js";

const PAGE = 4096;
/** MSR_FILTER_RANGE.flags: reads and writes. */
const MSR_FILTER_READ_WRITE = 3;
/** Three pages for the real-mode TSS, one for the identity map, below the BIOS at the top of 4 GiB: QEMU's places. */
const IDENTITY_MAP = 0xfeffc000;
const TSS = 0xfeffd000;

interface Slot {
  readonly index: number;
  readonly start: number;
  readonly bytes: number;
  readonly host: number;
  readonly readOnly: boolean;
  logging: boolean;
}

export class KvmVm {
  readonly sys: HostSyscalls;
  readonly fd: number;
  private readonly ramAddress: number;
  private readonly slots = new Map<number, Slot>();
  private readonly freeSlots: number[] = [];
  private nextSlot = 0;
  private readonly maxSlots: number;
  private readonly readOnlyMemory: boolean;

  constructor(
    readonly device: KvmDevice,
    private readonly memory: AddressSpace,
    private readonly ram: GuestRam,
  ) {
    this.sys = device.sys;
    this.fd = device.createVm();
    this.maxSlots = device.capability("nr_memslots") || 32;
    this.readOnlyMemory = device.capability("readonly_mem") > 0;
    this.ramAddress = this.sys.addressOf(ram.u8);
    if (this.ramAddress % PAGE)
      throw new VmError("accel/failed", "failed to initialize kvm: guest RAM does not begin at a page; use -accel tcg");
    if (device.capability("set_identity_map_addr")) {
      const at = new Uint8Array(new BigUint64Array([BigInt(IDENTITY_MAP)]).buffer);
      this.sys.ioctlData(this.fd, Vm.setIdentityMapAddr, at);
    }
    if (device.capability("set_tss_addr")) this.sys.ioctl(this.fd, Vm.setTssAddr, TSS);
  }

  /** Makes the slots those of the memory map. No vCPU may be in guest code. @throws VmError "accel/failed" */
  mapMemory(): void {
    const wanted = this.memory.ranges().flatMap((r) => this.slotOf(r));
    const key = (s: Omit<Slot, "index" | "logging">) => `${s.start} ${s.bytes} ${s.host} ${s.readOnly}`;
    const have = new Map([...this.slots.values()].map((s) => [key(s), s]));
    for (const w of wanted) have.delete(key(w));
    for (const gone of have.values()) this.remove(gone);
    const kept = new Set([...this.slots.values()].map(key));
    for (const w of wanted) if (!kept.has(key(w))) this.add(w);
  }

  private slotOf(r: FlatRange): Omit<Slot, "index" | "logging">[] {
    const { region, base } = r.mapping;
    if (region.kind === "io" || region.kind === "none") return [];
    const readOnly = region.kind === "rom";
    // Without read-only slots every access to ROM leaves the guest.
    if (readOnly && !this.readOnlyMemory) return [];
    const start = Math.ceil(r.start / PAGE) * PAGE;
    const end = Math.floor(r.end / PAGE) * PAGE;
    const host = region.block.hostOffset + region.offset + (start - base);
    if (end <= start || host % PAGE) return [];
    return [{ start, bytes: end - start, host, readOnly }];
  }

  private add(w: Omit<Slot, "index" | "logging">): void {
    const index = this.freeSlots.pop() ?? this.nextSlot++;
    if (index >= this.maxSlots)
      throw new VmError("accel/failed", `kvm: the memory map needs more than ${this.maxSlots} slots; use -accel tcg`);
    const slot: Slot = { ...w, index, logging: false };
    this.set(slot, slot.bytes);
    this.slots.set(index, slot);
  }

  private remove(slot: Slot): void {
    this.set(slot, 0);
    this.slots.delete(slot.index);
    this.freeSlots.push(slot.index);
  }

  private set(slot: Slot, bytes: number): void {
    const region = structOf(MEMORY_REGION, {
      slot: slot.index,
      flags: (slot.readOnly ? MEM.readOnly : 0) | (slot.logging ? MEM.logDirtyPages : 0),
      guest_phys_addr: slot.start,
      memory_size: bytes,
      userspace_addr: this.ramAddress + slot.host,
    });
    const r = this.sys.ioctlData(this.fd, Vm.setUserMemoryRegion, region.bytes);
    if (r < 0)
      throw new VmError(
        "accel/failed",
        `kvm: memory at 0x${slot.start.toString(16)}, ${slot.bytes} bytes, cannot be registered: ${strerror(-r)}; use -accel tcg`,
      );
  }

  /** Turns the log of written pages on or off for all RAM. */
  setDirtyLog(on: boolean): void {
    for (const slot of this.slots.values())
      if (!slot.readOnly && slot.logging !== on) {
        slot.logging = on;
        this.set(slot, slot.bytes);
      }
  }

  /** Calls back with the host byte offset (in the RAM's memory) of each page that the guest has written since the last call. */
  takeDirtyPages(each: (hostOffset: number) => void): void {
    for (const slot of this.slots.values()) {
      if (!slot.logging) continue;
      const words = new BigUint64Array(Math.ceil(slot.bytes / PAGE / 64));
      const bits = new Uint8Array(new SharedArrayBuffer(words.byteLength));
      const request = structOf(DIRTY_LOG, { slot: slot.index, dirty_bitmap: this.sys.addressOf(bits) });
      if (this.sys.ioctlData(this.fd, Vm.getDirtyLog, request.bytes) < 0) continue;
      for (let i = 0; i < bits.length; i++)
        for (let b = bits[i]!, k = 0; b !== 0; b >>= 1, k++) if (b & 1) each(slot.host + (i * 8 + k) * PAGE);
    }
  }

  /** Slots in use, for `info kvm`. */
  get slotCount(): number {
    return this.slots.size;
  }

  /** KVM_ENABLE_CAP. @returns whether the kernel took it */
  enable(name: CapabilityName, ...args: number[]): boolean {
    const cap = new Struct(ENABLE_CAP);
    cap.set("cap", CAPABILITIES.find((c) => c.name === name)!.number);
    for (const [i, a] of args.entries()) cap.view.setBigUint64(ENABLE_CAP.at.args + 8 * i, BigInt(a), true);
    return this.sys.ioctlData(this.fd, Vm.enableCap, cap.bytes) >= 0;
  }

  /** Makes guest accesses to these MSRs, and to those KVM does not know, leave the guest. @returns whether it can */
  interceptMsrs(ranges: readonly { readonly first: number; readonly count: number }[]): boolean {
    const { device } = this;
    if (!device.capability("x86_user_space_msr") || !device.capability("x86_msr_filter")) return false;
    if (!this.enable("x86_user_space_msr", MSR_EXIT.invalid | MSR_EXIT.unknown | MSR_EXIT.filter)) return false;
    const filter = new Struct(MSR_FILTER);
    // A clear bit denies: the access leaves the guest.
    const deny = new Uint8Array(new SharedArrayBuffer(PAGE));
    for (const [i, r] of ranges.entries()) {
      const base = MSR_FILTER.at.ranges + i * MSR_FILTER_RANGE.sizeBytes;
      const range = new Struct(MSR_FILTER_RANGE, filter.bytes.subarray(base, base + MSR_FILTER_RANGE.sizeBytes));
      range.set("flags", MSR_FILTER_READ_WRITE);
      range.set("nmsrs", r.count);
      range.set("base", r.first);
      range.set("bitmap", this.sys.addressOf(deny));
    }
    return this.sys.ioctlData(this.fd, Vm.x86SetMsrFilter, filter.bytes) >= 0;
  }

  close(): void {
    this.sys.close(this.fd);
  }
}

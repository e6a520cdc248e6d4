/**
 * The driver's half of virtio, for tests of devices: builds rings in guest RAM and drives a device through its BARs (or
 * its MMIO window) exactly as a guest does. Nothing here is used by a running machine.
 */
import { assert } from "../../base/errors.js";
import { Trace } from "../../base/trace.js";
import { AddressSpace } from "../../memory/address-space.js";
import { GuestRam } from "../../memory/ram.js";
import { ManualClock, TimerQueue } from "../core/clock.js";
import type { DeviceContext } from "../core/device.js";
import { PciCommand, PciReg } from "../pci/device.js";
import type { VirtioPci } from "./pci.js";
import { needEvent } from "./queue.js";
import { DescFlag, featureBits, VirtioFeature, VirtioStatus } from "./spec.js";

/** A machine of nothing but RAM, with the handles a test needs. */
export interface KitMachine extends DeviceContext {
  readonly clock: ManualClock;
  readonly errors: string[];
  /** Messages sent by MSI-X. */
  readonly msis: { address: number; data: number }[];
  sendMsi(address: number, data: number): void;
  /** Lets virtual time pass and fires what is due. */
  advance(ns?: number): void;
  /** Lets host completions (promises) arrive, and then runs due timers. */
  settle(): Promise<void>;
}

export const KIT_RAM_BYTES = 8 * 2 ** 20;
/** ROM in the kit's memory map, for hostile rows. */
export const KIT_ROM = 0xfff0_0000;
const KIT_ROM_BYTES = 0x10000;
const KIT_IO_BAR = 0xc000;
const KIT_MSIX_BAR = 0xfebf_0000;
export const KIT_MODERN_BAR = 0x8_0000_0000;

/** Builds a machine with 8 MiB of RAM at 0 and a ROM at `KIT_ROM`. */
export function kitMachine(): KitMachine {
  const ram = new GuestRam(0, KIT_RAM_BYTES + KIT_ROM_BYTES, false);
  const memory = new AddressSpace("memory", 2 ** 40, ram);
  const block = ram.allocate("pc.ram", KIT_RAM_BYTES);
  const rom = ram.allocate("rom", KIT_ROM_BYTES);
  memory.map(0, KIT_RAM_BYTES, { kind: "ram", block, offset: 0 });
  memory.map(KIT_ROM, KIT_ROM_BYTES, { kind: "rom", block: rom, offset: 0 });
  const clock = new ManualClock();
  const timers = new TimerQueue(clock);
  const errors: string[] = [];
  const msis: { address: number; data: number }[] = [];
  const trace = new Trace();
  trace.enable("guest_errors");
  trace.sink = (line) => errors.push(line);
  return {
    clock,
    timers,
    memory,
    io: new AddressSpace("io", 0x10000, ram),
    ram,
    trace,
    errors,
    msis,
    wallMs: () => 0,
    sendMsi: (address, data) => {
      msis.push({ address, data });
    },
    advance(ns = 0) {
      clock.advance(ns);
      timers.runDue();
    },
    async settle() {
      for (let round = 0; round < 20; round++) {
        for (let i = 0; i < 20; i++) await Promise.resolve();
        timers.runDue();
      }
    },
  };
}

/** Hands out guest memory, upwards. */
export class KitHeap {
  private next = 0x10000;
  constructor(private readonly machine: KitMachine) {}

  alloc(bytes: number, align = 16): number {
    const at = Math.ceil(this.next / align) * align;
    this.next = at + bytes;
    assert(this.next <= KIT_RAM_BYTES, "kit heap");
    this.machine.memory.writeBytes(at, new Uint8Array(bytes));
    return at;
  }

  put(data: Uint8Array): number {
    const at = this.alloc(data.length);
    this.machine.memory.writeBytes(at, data);
    return at;
  }
}

/** How a driver reaches its device. */
export interface DriverTransport {
  readonly modern: boolean;
  deviceFeatures(): bigint;
  setFeatures(features: bigint): void;
  status(): number;
  setStatus(value: number): void;
  queueSize(index: number): number;
  /** Programs ring addresses and enables the queue. */
  setQueue(index: number, size: number, desc: number, avail: number, used: number): void;
  setQueueVector(index: number, vector: number): number;
  setConfigVector(vector: number): number;
  notify(index: number): void;
  readIsr(): number;
  config(offset: number, size: 1 | 2 | 4): number;
  setConfig(offset: number, size: 1 | 2 | 4, value: number): void;
}

/** Puts the function into a slot of its own and programs its BARs. @returns the level of INTA# at any time */
export function plug(device: VirtioPci, devfn = 0x20): { intx: () => boolean } {
  let level = false;
  device.attach({
    bus: 0,
    devfn,
    setIrq: (_pin, l) => {
      level = l;
    },
  });
  device.reset();
  if (device.legacy) device.configWrite(PciReg.bar0, 4, KIT_IO_BAR);
  if (device.msix) device.configWrite(PciReg.bar0 + 4, 4, KIT_MSIX_BAR);
  if (device.modern) {
    device.configWrite(PciReg.bar0 + 16, 4, KIT_MODERN_BAR % 2 ** 32);
    device.configWrite(PciReg.bar0 + 20, 4, KIT_MODERN_BAR / 2 ** 32);
  }
  device.configWrite(PciReg.command, 2, PciCommand.io | PciCommand.memory | PciCommand.master);
  return { intx: () => level };
}

/** Finds a virtio capability by its type; returns where its structure lies in guest memory. */
export function findStructure(device: VirtioPci, type: number): { address: number; length: number; multiplier: number } {
  for (
    let cap = device.configRead(PciReg.capabilities, 1), n = 0;
    cap !== 0 && n < 48;
    cap = device.configRead(cap + 1, 1), n++
  ) {
    if (device.configRead(cap, 1) !== 9 || device.configRead(cap + 3, 1) !== type) continue;
    const bar = device.configRead(cap + 4, 1);
    return {
      address: device.barAddress(bar) + device.configRead(cap + 8, 4),
      length: device.configRead(cap + 12, 4),
      multiplier: type === 2 ? device.configRead(cap + 16, 4) : 0,
    };
  }
  throw new Error(`no virtio capability of type ${type}`);
}

/** The modern interface, found through the capabilities. */
export function modernTransport(machine: KitMachine, device: VirtioPci): DriverTransport {
  const { memory } = machine;
  const common = findStructure(device, 1).address;
  const notify = findStructure(device, 2);
  const isr = findStructure(device, 3).address;
  const config = findStructure(device, 4).address;
  const select = (q: number) => memory.write(common + 0x16, 2, q);
  const put64 = (at: number, v: number) => {
    memory.write(at, 4, v % 2 ** 32);
    memory.write(at + 4, 4, Math.floor(v / 2 ** 32) % 2 ** 32);
  };
  return {
    modern: true,
    deviceFeatures() {
      memory.write(common, 4, 0);
      const low = memory.read(common + 4, 4);
      memory.write(common, 4, 1);
      return BigInt(low) | (BigInt(memory.read(common + 4, 4)) << 32n);
    },
    setFeatures(f) {
      for (const i of [0, 1]) {
        memory.write(common + 8, 4, i);
        memory.write(common + 0xc, 4, Number((f >> BigInt(32 * i)) & 0xffffffffn));
      }
    },
    status: () => memory.read(common + 0x14, 1),
    setStatus: (v) => memory.write(common + 0x14, 1, v),
    queueSize(q) {
      select(q);
      return memory.read(common + 0x18, 2);
    },
    setQueue(q, size, desc, avail, used) {
      select(q);
      memory.write(common + 0x18, 2, size);
      put64(common + 0x20, desc);
      put64(common + 0x28, avail);
      put64(common + 0x30, used);
      memory.write(common + 0x1c, 2, 1);
    },
    setQueueVector(q, v) {
      select(q);
      memory.write(common + 0x1a, 2, v);
      return memory.read(common + 0x1a, 2);
    },
    setConfigVector(v) {
      memory.write(common + 0x10, 2, v);
      return memory.read(common + 0x10, 2);
    },
    notify(q) {
      select(q);
      memory.write(notify.address + memory.read(common + 0x1e, 2) * notify.multiplier, 2, q);
    },
    readIsr: () => memory.read(isr, 1),
    config: (o, size) => memory.read(config + o, size),
    setConfig: (o, size, v) => memory.write(config + o, size, v),
  };
}

/** The legacy interface in BAR0. */
export function legacyTransport(machine: KitMachine, device: VirtioPci): DriverTransport {
  const { io } = machine;
  const base = device.barAddress(0);
  const configBase = () => base + (device.msix?.enabled ? 24 : 20);
  const select = (q: number) => io.write(base + 14, 2, q);
  return {
    modern: false,
    deviceFeatures: () => BigInt(io.read(base, 4)),
    setFeatures: (f) => io.write(base + 4, 4, Number(f & 0xffffffffn)),
    status: () => io.read(base + 18, 1),
    setStatus: (v) => io.write(base + 18, 1, v),
    queueSize(q) {
      select(q);
      return io.read(base + 12, 2);
    },
    setQueue(q, _size, desc) {
      select(q);
      io.write(base + 8, 4, desc / 4096);
    },
    setQueueVector(q, v) {
      select(q);
      io.write(base + 22, 2, v);
      return io.read(base + 22, 2);
    },
    setConfigVector(v) {
      io.write(base + 20, 2, v);
      return io.read(base + 20, 2);
    },
    notify: (q) => io.write(base + 16, 2, q),
    readIsr: () => io.read(base + 19, 1),
    config: (o, size) => io.read(configBase() + o, size),
    setConfig: (o, size, v) => io.write(configBase() + o, size, v),
  };
}

/** virtio-mmio, version 2, at an address. */
export function mmioTransport(machine: KitMachine, base: number): DriverTransport {
  const { memory } = machine;
  const r = (o: number) => memory.read(base + o, 4);
  const w = (o: number, v: number) => memory.write(base + o, 4, v);
  return {
    modern: true,
    deviceFeatures() {
      w(0x14, 0);
      const low = r(0x10);
      w(0x14, 1);
      return BigInt(low) | (BigInt(r(0x10)) << 32n);
    },
    setFeatures(f) {
      for (const i of [0, 1]) {
        w(0x24, i);
        w(0x20, Number((f >> BigInt(32 * i)) & 0xffffffffn));
      }
    },
    status: () => r(0x70),
    setStatus: (v) => w(0x70, v),
    queueSize(q) {
      w(0x30, q);
      return r(0x34);
    },
    setQueue(q, size, desc, avail, used) {
      w(0x30, q);
      w(0x38, size);
      for (const [at, v] of [
        [0x80, desc],
        [0x90, avail],
        [0xa0, used],
      ] as const) {
        w(at, v % 2 ** 32);
        w(at + 4, Math.floor(v / 2 ** 32) % 2 ** 32);
      }
      w(0x44, 1);
    },
    setQueueVector: () => 0xffff,
    setConfigVector: () => 0xffff,
    notify: (q) => w(0x50, q),
    readIsr() {
      const isr = r(0x60);
      w(0x64, isr);
      return isr;
    },
    config: (o, size) => memory.read(base + 0x100 + o, size),
    setConfig: (o, size, v) => memory.write(base + 0x100 + o, size, v),
  };
}

/** A buffer of a chain: bytes for the device, or so many bytes of room. */
export type Buffer = { out: Uint8Array } | { in: number } | { addr: number; length: number; write: boolean };

/** A completed chain. */
export interface UsedElement {
  readonly head: number;
  readonly length: number;
  /** What the device put into the writable buffers, one array a buffer. */
  readonly in: Uint8Array[];
}

/** A split ring in guest RAM, driven by hand. */
export class DriverQueue {
  readonly desc: number;
  readonly avail: number;
  readonly used: number;
  private nextDesc = 0;
  availIdx = 0;
  usedIdx = 0;
  private readonly outstanding = new Map<number, { at: number; length: number }[]>();

  constructor(
    private readonly driver: VirtioDriver,
    readonly index: number,
    readonly size: number,
  ) {
    const { heap } = driver;
    if (driver.transport.modern) {
      this.desc = heap.alloc(16 * size, 16);
      this.avail = heap.alloc(6 + 2 * size, 2);
      this.used = heap.alloc(6 + 8 * size, 4);
    } else {
      const availEnd = 16 * size + 6 + 2 * size;
      const used = Math.ceil(availEnd / 4096) * 4096;
      this.desc = heap.alloc(used + 6 + 8 * size, 4096);
      this.avail = this.desc + 16 * size;
      this.used = this.desc + used;
    }
  }

  private get memory(): AddressSpace {
    return this.driver.machine.memory;
  }

  /** Writes one descriptor by hand. */
  setDesc(i: number, addr: number, length: number, flags: number, next = 0, table = this.desc): void {
    const at = table + 16 * i;
    this.memory.write(at, 4, addr % 2 ** 32);
    this.memory.write(at + 4, 4, Math.floor(addr / 2 ** 32) % 2 ** 32);
    this.memory.write(at + 8, 4, length);
    this.memory.write(at + 12, 2, flags);
    this.memory.write(at + 14, 2, next);
  }

  /** Makes a head available by hand. */
  offer(head: number): void {
    this.memory.write(this.avail + 4 + 2 * (this.availIdx % this.size), 2, head);
    this.availIdx = (this.availIdx + 1) & 0xffff;
    this.memory.write(this.avail + 2, 2, this.availIdx);
  }

  /** Builds a chain and makes it available. @param indirect in an indirect table @returns its head */
  add(buffers: Buffer[], indirect = false): number {
    const { heap } = this.driver;
    const placed = buffers.map((b) => {
      if ("out" in b) return { at: heap.put(b.out), length: b.out.length, write: false };
      if ("in" in b) return { at: heap.alloc(b.in), length: b.in, write: true };
      return { at: b.addr, length: b.length, write: b.write };
    });
    const flag = (i: number) => (placed[i]!.write ? DescFlag.write : 0) | (i + 1 < placed.length ? DescFlag.next : 0);
    let head: number;
    if (indirect) {
      const table = heap.alloc(16 * placed.length, 16);
      for (const [i, p] of placed.entries()) this.setDesc(i, p.at, p.length, flag(i), i + 1, table);
      head = this.nextDesc++ % this.size;
      this.setDesc(head, table, 16 * placed.length, DescFlag.indirect);
    } else {
      const slots = placed.map(() => this.nextDesc++ % this.size);
      for (const [i, p] of placed.entries()) this.setDesc(slots[i]!, p.at, p.length, flag(i), slots[i + 1] ?? 0);
      head = slots[0]!;
    }
    this.outstanding.set(
      head,
      placed.filter((p) => p.write),
    );
    this.offer(head);
    return head;
  }

  /** Notifies the device, without asking whether it wants that. */
  kick(): void {
    this.driver.transport.notify(this.index);
  }

  /** Whether the device wants to be notified of what was added since `oldAvail`. */
  wantsKick(oldAvail: number): boolean {
    if (!this.driver.has(VirtioFeature.eventIdx)) return (this.memory.read(this.used, 2) & 1) === 0;
    return needEvent(this.memory.read(this.used + 4 + 8 * this.size, 2), this.availIdx, oldAvail);
  }

  /** Asks for an interrupt once the used index passes `index`. */
  setUsedEvent(index: number): void {
    this.memory.write(this.avail + 4 + 2 * this.size, 2, index & 0xffff);
  }

  setNoInterrupt(on: boolean): void {
    this.memory.write(this.avail, 2, on ? 1 : 0);
  }

  /** Takes what the device has completed. */
  take(): UsedElement[] {
    const out: UsedElement[] = [];
    const idx = this.memory.read(this.used + 2, 2);
    while (this.usedIdx !== idx) {
      const at = this.used + 4 + 8 * (this.usedIdx % this.size);
      const head = this.memory.read(at, 4);
      const places = this.outstanding.get(head) ?? [];
      out.push({
        head,
        length: this.memory.read(at + 4, 4),
        in: places.map((p) => {
          const bytes = new Uint8Array(p.length);
          this.memory.readBytes(p.at, bytes);
          return bytes;
        }),
      });
      this.usedIdx = (this.usedIdx + 1) & 0xffff;
    }
    return out;
  }
}

/** A driver that has found its device. */
export class VirtioDriver {
  readonly heap: KitHeap;
  readonly queues: DriverQueue[] = [];
  features = 0n;

  constructor(
    readonly machine: KitMachine,
    readonly transport: DriverTransport,
  ) {
    this.heap = new KitHeap(machine);
  }

  has(bit: number): boolean {
    return ((this.features >> BigInt(bit)) & 1n) === 1n;
  }

  /**
   * The initialization of virtio 1.2 §3.1.1: takes every offered feature but `without`, sets up `queues` of them.
   * @returns whether the device kept FEATURES_OK
   */
  init(queues: number, without = 0n): boolean {
    const t = this.transport;
    t.setStatus(0);
    t.setStatus(VirtioStatus.acknowledge);
    t.setStatus(VirtioStatus.acknowledge | VirtioStatus.driver);
    // Interrupts by flag are simpler to count; a test that wants event index asks for it.
    this.features = t.deviceFeatures() & ~without;
    t.setFeatures(this.features);
    let status = VirtioStatus.acknowledge | VirtioStatus.driver;
    if (t.modern) {
      status |= VirtioStatus.featuresOk;
      t.setStatus(status);
      if (!(t.status() & VirtioStatus.featuresOk)) return false;
    }
    for (let i = 0; i < queues; i++) {
      const q = new DriverQueue(this, i, t.queueSize(i));
      t.setQueue(i, q.size, q.desc, q.avail, q.used);
      this.queues[i] = q;
    }
    t.setStatus(status | VirtioStatus.driverOk);
    return true;
  }
}

/** What a test subtracts to get interrupts and notifications by flag. */
export const WITHOUT_EVENT_IDX = featureBits(VirtioFeature.eventIdx);

/** Little-endian bytes of numbers with their widths: `le([1, 4], [0, 4], [7, 8])`. */
export function le(...parts: [value: number, bytes: number][]): Uint8Array {
  const out: number[] = [];
  for (const [value, bytes] of parts) for (let i = 0, v = value; i < bytes; i++, v = Math.floor(v / 256)) out.push(v % 256);
  return Uint8Array.from(out);
}

/**
 * XIVE, the interrupt controller of POWER9 partitions in exploitation mode: sources with a two-bit state that the guest
 * works through memory (ESB pages), event queues in guest memory, and a page of registers for each vCPU (TIMA).
 * Source: LoPAR §14.11 (H_INT_*, "External Interrupt Virtualization Engine"); the layout of pages and registers as Linux's
 * arch/powerpc/include/asm/xive-regs.h describes the hardware.
 * Not emulated: pool and user rings, escalation, groups, store-EOI, reporting lines.
 */
import type { AddressSpace, IoHandler, Mapping } from "../../memory/address-space.js";
import type { Device, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";

/** Where the pages are: two of 64 KiB a source, trigger and management; a page of OS registers and one of user's. */
export const XIVE_ESB_BASE = 0x6010000000000;
export const XIVE_TIMA_OS = 0x60302031a0000;
export const XIVE_TIMA_USER = 0x60302031b0000;
export const XIVE_PAGE_SHIFT = 16;
const PAGE = 2 ** XIVE_PAGE_SHIFT;
/** Priorities that partitions may use; the hypervisor keeps 7. */
export const XIVE_PRIORITIES = 7;
const LOWEST = 0xff;

/** ESB operations: offsets in the management page. */
const Esb = { storeEoi: 0x400, get: 0x800, setPq: 0xc00, end: 0x1000 } as const;
/** Source states: reset, off, pending, queued (P and Q bits). */
const Pq = { reset: 0, off: 1, pending: 2, queued: 3 } as const;

/** Registers of the OS ring, and operations. */
const Tima = { nsr: 0x10, cppr: 0x11, ipb: 0x12, pipr: 0x17, end: 0x20, ackOs: 0x810, setPending: 0x812 } as const;
/** NSR: an exception for the OS. */
const NSR_EO = 0x80;

const PQ_TEXT = ["--", "-Q", "P-", "PQ"];

interface Source {
  pq: number;
  /** Level sources: the input is high. */
  asserted: boolean;
  level: boolean;
  masked: boolean;
  server: number;
  priority: number;
  /** What the queue gets. */
  eisn: number;
}

/** Bytes of queues are a power of two from 4 KiB to 16 MiB. */
export interface XiveQueue {
  address: number;
  /** log2 of its bytes, 0 = none. */
  shift: number;
  index: number;
  generation: number;
}

interface Context {
  nsr: number;
  cppr: number;
  ipb: number;
}

/** The most favoured priority of a pending mask (bit 7 is priority 0). */
function favoured(ipb: number): number {
  for (let p = 0; p < 8; p++) if (ipb & (0x80 >> p)) return p;
  return LOWEST;
}

export class Xive implements Device {
  readonly type = "spapr-xive";
  private readonly sources: Source[];
  private readonly queues: XiveQueue[];
  private readonly contexts: Context[];
  private readonly mappings: Mapping[];
  /** What the first half of an eight-byte load of an ESB page has given. */
  private esbValue = 0;

  /**
   * @param count sources, numbered from 0: the first are the vCPUs' own, for asking each other
   * @param running the vCPU that makes an access
   * @param onOutput the external interrupt input of a vCPU
   */
  constructor(
    private readonly memory: AddressSpace,
    readonly count: number,
    readonly servers: number,
    private readonly running: () => number,
    private readonly onOutput: (server: number, level: boolean) => void,
  ) {
    this.sources = Array.from({ length: count }, () => newSource());
    this.queues = Array.from({ length: servers * 8 }, () => ({ address: 0, shift: 0, index: 0, generation: 1 }));
    this.contexts = Array.from({ length: servers }, () => ({ nsr: 0, cppr: 0, ipb: 0 }));
    const esb: IoHandler = {
      name: "xive.esb",
      // Doublewords come as two words; the first does it.
      read: (offset, size) => {
        if (offset % 8 === 0) this.esbValue = this.esbPage(offset, false);
        return bigEndian(this.esbValue, offset % 8, size);
      },
      write: (offset) => {
        if (offset % 8 === 0) this.esbPage(offset, true);
      },
    };
    const tima: IoHandler = {
      name: "xive.tima",
      read: (offset, size) => this.timaRead(offset, size),
      write: (offset, size, value) => this.timaWrite(offset, size, value),
    };
    this.mappings = [
      memory.mapIo(XIVE_ESB_BASE, count * 2 * PAGE, esb, { enabled: false }),
      memory.mapIo(XIVE_TIMA_OS, PAGE, tima, { enabled: false }),
    ];
  }

  /** The pages are there only while the guest has this controller. */
  setEnabled(on: boolean): void {
    for (const m of this.mappings) this.memory.setEnabled(m, on);
  }

  has(lisn: number): boolean {
    return lisn < this.count;
  }

  hasServer(server: number): boolean {
    return server < this.servers;
  }

  isLevel(lisn: number): boolean {
    return this.sources[lisn]!.level;
  }

  /** The wire into a level source. */
  line(lisn: number): IrqLine {
    this.sources[lisn]!.level = true;
    return new IrqLine((level) => {
      const s = this.sources[lisn]!;
      s.asserted = level;
      if (level) this.trigger(lisn);
    });
  }

  /** An event of a source. */
  pulse(lisn: number): void {
    if (this.has(lisn)) this.trigger(lisn);
  }

  private trigger(lisn: number): void {
    const s = this.sources[lisn]!;
    if (s.pq === Pq.reset) {
      s.pq = Pq.pending;
      this.notify(s);
    } else if (s.pq === Pq.pending) s.pq = Pq.queued;
  }

  /** @returns whether the source triggered again */
  private endOfInterrupt(s: Source): number {
    const again = s.pq === Pq.queued || (s.level && s.asserted && s.pq === Pq.pending);
    if (s.pq !== Pq.off) s.pq = again ? Pq.pending : Pq.reset;
    if (again) this.notify(s);
    return again ? 1 : 0;
  }

  private esbPage(offset: number, store: boolean): number {
    const lisn = Math.floor(offset / (2 * PAGE));
    if (offset % (2 * PAGE) < PAGE) {
      if (store) this.trigger(lisn);
      return store ? 0 : -1;
    }
    return this.esb(lisn, offset % PAGE, store);
  }

  /** An access to a source's management page, by memory or by H_INT_ESB. */
  esb(lisn: number, offset: number, store: boolean): number {
    const s = this.sources[lisn]!;
    const at = offset % Esb.end;
    if (store) {
      // Where the page of a source takes triggers as well, below, and EOI.
      if (at < Esb.storeEoi) this.trigger(lisn);
      else if (at < Esb.get) this.endOfInterrupt(s);
      return 0;
    }
    if (at < Esb.storeEoi) return this.endOfInterrupt(s);
    const old = s.pq;
    if (at >= Esb.setPq) {
      s.pq = (at >> 8) & 3;
      // A level that is high shows as soon as the source is let through.
      if (s.level && s.asserted && s.pq === Pq.reset) this.trigger(lisn);
    }
    return old;
  }

  /** H_INT_SET_SOURCE_CONFIG; priority 255 masks. `eisn` undefined: as before. */
  setSource(lisn: number, server: number, priority: number, eisn: number | undefined): void {
    const s = this.sources[lisn]!;
    s.masked = priority === LOWEST;
    if (!s.masked) {
      s.server = server;
      s.priority = priority;
    }
    if (eisn !== undefined) s.eisn = eisn;
  }

  source(lisn: number): { readonly server: number; readonly priority: number; readonly eisn: number } {
    const s = this.sources[lisn]!;
    return { server: s.server, priority: s.masked ? LOWEST : s.priority, eisn: s.eisn };
  }

  queue(server: number, priority: number): XiveQueue {
    return this.queues[server * 8 + priority]!;
  }

  private notify(s: Source): void {
    if (s.masked) return;
    const q = this.queue(s.server, s.priority);
    if (q.shift === 0) return;
    const bytes = new Uint8Array(4);
    new DataView(bytes.buffer).setUint32(0, ((q.generation << 31) | (s.eisn & 0x7fffffff)) >>> 0);
    this.memory.writeBytes(q.address + 4 * q.index, bytes);
    q.index++;
    if (q.index * 4 >= 2 ** q.shift) {
      q.index = 0;
      q.generation ^= 1;
    }
    const c = this.contexts[s.server]!;
    c.ipb |= 0x80 >> s.priority;
    this.present(s.server, c);
  }

  private present(server: number, c: Context): void {
    if (favoured(c.ipb) < c.cppr) {
      c.nsr = NSR_EO;
      this.onOutput(server, true);
    }
  }

  private setCppr(server: number, value: number): void {
    const c = this.contexts[server]!;
    c.cppr = value > 7 ? LOWEST : value;
    this.present(server, c);
  }

  private acknowledge(server: number): number {
    const c = this.contexts[server]!;
    const { nsr } = c;
    this.onOutput(server, false);
    if (nsr & NSR_EO) {
      c.cppr = favoured(c.ipb);
      c.ipb &= ~(0x80 >> c.cppr);
      c.nsr = 0;
    }
    return (nsr << 8) | c.cppr;
  }

  /** A byte of the OS ring. */
  private ring(server: number, at: number): number {
    const c = this.contexts[server]!;
    switch (at) {
      case Tima.nsr:
        return c.nsr;
      case Tima.cppr:
        return c.cppr;
      case Tima.ipb:
        return c.ipb;
      case Tima.pipr:
        return favoured(c.ipb);
      case 0x18:
        // Word 2: valid.
        return 0x80;
    }
    return 0;
  }

  private timaRead(offset: number, size: 1 | 2 | 4): number {
    const server = this.running();
    const at = offset % 0x1000;
    if (at === Tima.ackOs) {
      const value = this.acknowledge(server);
      return ((value & 0xff) << 8) | (value >> 8);
    }
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (at + i < Tima.end ? this.ring(server, at + i) : 0xff);
    return value;
  }

  private timaWrite(offset: number, size: 1 | 2 | 4, value: number): void {
    const server = this.running();
    const at = offset % 0x1000;
    if (at === Tima.cppr && size === 1) this.setCppr(server, value & 0xff);
    else if (at === Tima.setPending && size === 1 && (value & 0xff) < 8) {
      const c = this.contexts[server]!;
      c.ipb |= 0x80 >> (value & 7);
      this.present(server, c);
    }
  }

  /** Sources, queues and contexts as text, for `info pic`. */
  report(): string {
    const hex = (n: number, w = 2) => n.toString(16).padStart(w, "0");
    let out = "";
    for (const [n, c] of this.contexts.entries())
      out += `CPU ${n} NSR=${hex(c.nsr)} CPPR=${hex(c.cppr)} IPB=${hex(c.ipb)} PIPR=${hex(favoured(c.ipb))}\n`;
    out += "  LISN         PQ    EISN     CPU/PRIO\n";
    for (const [n, s] of this.sources.entries())
      if (!s.masked)
        out += `  ${hex(n, 8)} ${s.level ? "LSI" : "MSI"} ${PQ_TEXT[s.pq]}     ${hex(s.eisn, 8)} ${s.server}/${s.priority}\n`;
    return out;
  }

  reset(): void {
    for (const s of this.sources) Object.assign(s, newSource(), { level: s.level, asserted: s.asserted });
    for (const q of this.queues) Object.assign(q, { address: 0, shift: 0, index: 0, generation: 1 });
    for (const [n, c] of this.contexts.entries()) {
      Object.assign(c, { nsr: 0, cppr: 0, ipb: 0 });
      this.onOutput(n, false);
    }
  }

  save(): DeviceState {
    return {
      enabled: this.mappings[0]!.enabled,
      sources: this.sources.map((s) => [
        s.pq,
        Number(s.asserted),
        Number(s.level),
        Number(s.masked),
        s.server,
        s.priority,
        s.eisn,
      ]),
      queues: this.queues.map((q) => [q.address, q.shift, q.index, q.generation]),
      contexts: this.contexts.map((c) => [c.nsr, c.cppr, c.ipb]),
    };
  }

  restore(state: DeviceState): void {
    this.setEnabled(state.enabled as boolean);
    for (const [n, row] of (state.sources as number[][]).entries()) {
      const s = this.sources[n];
      if (!s) break;
      const [pq, asserted, level, masked, server, priority, eisn] = row as [
        number,
        number,
        number,
        number,
        number,
        number,
        number,
      ];
      Object.assign(s, { pq: pq & 3, asserted: !!asserted, level: !!level, masked: !!masked, eisn });
      if (this.hasServer(server)) Object.assign(s, { server, priority: priority & 7 });
    }
    for (const [n, row] of (state.queues as number[][]).entries()) {
      const q = this.queues[n];
      if (q) [q.address, q.shift, q.index, q.generation] = row as [number, number, number, number];
    }
    for (const [n, row] of (state.contexts as number[][]).entries()) {
      const c = this.contexts[n];
      if (!c) continue;
      [c.nsr, c.cppr, c.ipb] = row as [number, number, number];
      this.onOutput(n, (c.nsr & NSR_EO) !== 0);
    }
  }
}

/** Off and masked, as after a reset. */
function newSource(): Source {
  return { pq: Pq.off, asserted: false, level: false, masked: true, server: 0, priority: 0, eisn: 0 };
}

/** Bytes `at` to `at + size` of a big-endian doubleword, as a little-endian bus carries them. */
function bigEndian(value: number, at: number, size: 1 | 2 | 4): number {
  let out = 0;
  for (let i = size - 1; i >= 0; i--) {
    const byte = 7 - (at + i);
    out = out * 256 + (value < 0 ? 0xff : byte < 4 ? (value >>> (8 * byte)) & 0xff : 0);
  }
  return out;
}

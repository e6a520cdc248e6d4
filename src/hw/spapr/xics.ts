/**
 * XICS, the interrupt controller of PAPR machines: sources (ICS) with a priority and a server each, and a presentation
 * controller (ICP) for each server, which shows its vCPU the most favoured interrupt.
 * Source: LoPAR §7.2.7 and §14.5.4.5 (hypervisor calls); priorities: 0 is the most favoured, 255 is none.
 */
import type { Device, DeviceState } from "../core/device.js";
import { IrqLine } from "../core/irq.js";

/** The interrupt number of one server asking another (its MFRR). */
export const XICS_IPI = 2;
const NONE = 0xff;

/** Bits of a source's state. */
const Bit = {
  /** A level source's input is high. */
  asserted: 1,
  /** A level source has been presented and not yet ended. */
  sent: 2,
  /** An event that no server would take: presented again when one may. */
  rejected: 4,
  /** An event that came while the source was masked. */
  maskedPending: 8,
} as const;

interface Server {
  cppr: number;
  mfrr: number;
  xisr: number;
  pendingPriority: number;
}

/** What is told of a source. */
export interface SourceSetting {
  readonly server: number;
  readonly priority: number;
  readonly savedPriority: number;
}

/** All sources and servers of a machine. */
export class Xics implements Device {
  readonly type = "spapr-xics";
  /** Sources that wait to be presented: rejected events and high levels not sent. */
  private readonly waiting = new Set<number>();
  private readonly state: Uint8Array;
  private readonly level: Uint8Array;
  private readonly server: Uint32Array;
  private readonly priority: Uint8Array;
  private readonly savedPriority: Uint8Array;
  private readonly servers: Server[];

  /**
   * @param first number of the first source
   * @param onOutput the external interrupt input of a server's vCPU
   */
  constructor(
    readonly first: number,
    readonly count: number,
    servers: number,
    private readonly onOutput: (server: number, level: boolean) => void,
  ) {
    this.state = new Uint8Array(count);
    this.level = new Uint8Array(count);
    this.server = new Uint32Array(count);
    this.priority = new Uint8Array(count).fill(NONE);
    this.savedPriority = new Uint8Array(count).fill(NONE);
    this.servers = Array.from({ length: servers }, () => ({ cppr: 0, mfrr: NONE, xisr: 0, pendingPriority: NONE }));
  }

  /** Declares a source: level (LSI) or event (MSI). */
  configure(source: number, level: boolean): void {
    this.level[source - this.first] = level ? 1 : 0;
  }

  has(source: number): boolean {
    return source >= this.first && source < this.first + this.count;
  }

  hasServer(server: number): boolean {
    return server < this.servers.length;
  }

  /** The wire into a level source. */
  line(source: number): IrqLine {
    this.configure(source, true);
    return new IrqLine((level) => this.setLevel(source, level));
  }

  /** An event of a source: what an MSI or a pulse is. */
  pulse(source: number): void {
    if (!this.has(source)) return;
    const i = source - this.first;
    if (this.priority[i] === NONE) this.state[i]! |= Bit.maskedPending;
    else this.present(this.server[i]!, source, this.priority[i]!);
  }

  private setLevel(source: number, high: boolean): void {
    const i = source - this.first;
    if (high) this.state[i]! |= Bit.asserted;
    else {
      this.state[i]! &= ~Bit.asserted;
      this.waiting.delete(source);
    }
    this.resendSource(source);
  }

  setting(source: number): SourceSetting {
    const i = source - this.first;
    return { server: this.server[i]!, priority: this.priority[i]!, savedPriority: this.savedPriority[i]! };
  }

  /** Routes a source; priority 255 masks it. */
  setSource(source: number, setting: SourceSetting): void {
    const i = source - this.first;
    this.server[i] = setting.server;
    this.priority[i] = setting.priority;
    this.savedPriority[i] = setting.savedPriority;
    if (this.level[i]) this.resendSource(source);
    else if (this.state[i]! & Bit.maskedPending && setting.priority !== NONE) {
      this.state[i]! &= ~Bit.maskedPending;
      this.present(setting.server, source, setting.priority);
    }
  }

  // --- the presentation side ---

  /** The interrupt is shown, waits, or displaces a less favoured one. */
  private present(server: number, source: number, priority: number): void {
    const s = this.servers[server];
    if (!s) return;
    if (priority >= s.cppr || (s.xisr && s.pendingPriority <= priority)) {
      this.reject(source);
      return;
    }
    if (s.xisr) this.rejectCurrent(s);
    s.xisr = source;
    s.pendingPriority = priority;
    this.onOutput(server, true);
  }

  private rejectCurrent(s: Server): void {
    const old = s.xisr;
    s.xisr = 0;
    s.pendingPriority = NONE;
    if (old !== XICS_IPI) this.reject(old);
  }

  private reject(source: number): void {
    const i = source - this.first;
    if (this.level[i]) this.state[i]! &= ~Bit.sent;
    else this.state[i]! |= Bit.rejected;
    this.waiting.add(source);
  }

  private resendSource(source: number): void {
    const i = source - this.first;
    const state = this.state[i]!;
    const priority = this.priority[i]!;
    if (this.level[i]) {
      if (!(state & Bit.asserted) || state & Bit.sent) return;
      if (priority === NONE) return;
      this.waiting.delete(source);
      this.state[i]! |= Bit.sent;
      this.present(this.server[i]!, source, priority);
    } else if (state & Bit.rejected) {
      this.state[i]! &= ~Bit.rejected;
      this.waiting.delete(source);
      if (priority === NONE) this.state[i]! |= Bit.maskedPending;
      else this.present(this.server[i]!, source, priority);
    } else this.waiting.delete(source);
  }

  private checkIpi(server: number, s: Server): void {
    if (s.xisr && s.pendingPriority <= s.mfrr) return;
    if (s.xisr) this.rejectCurrent(s);
    s.xisr = XICS_IPI;
    s.pendingPriority = s.mfrr;
    this.onOutput(server, true);
  }

  /** Whatever may now be shown to the server is. */
  private resend(server: number, s: Server): void {
    if (s.mfrr < s.cppr) this.checkIpi(server, s);
    if (this.waiting.size > 0) for (const source of [...this.waiting]) this.resendSource(source);
  }

  /** H_CPPR: the priority that an interrupt must be more favoured than. */
  setCppr(server: number, cppr: number): void {
    const s = this.servers[server]!;
    const old = s.cppr;
    s.cppr = cppr;
    if (cppr < old) {
      if (s.xisr && cppr <= s.pendingPriority) {
        this.onOutput(server, false);
        this.rejectCurrent(s);
      }
    } else if (!s.xisr) this.resend(server, s);
  }

  /** H_IPI: asks a server to look, at a priority; 255 takes the request back. */
  setMfrr(server: number, mfrr: number): void {
    const s = this.servers[server]!;
    s.mfrr = mfrr;
    if (mfrr < s.cppr) this.checkIpi(server, s);
  }

  /** H_XIRR: takes the interrupt. @returns the CPPR before (bits 24-31) and the source, 0 = none */
  accept(server: number): number {
    const s = this.servers[server]!;
    const xirr = ((s.cppr << 24) | s.xisr) >>> 0;
    this.onOutput(server, false);
    s.cppr = s.pendingPriority;
    if (!s.xisr) s.cppr = xirr >>> 24;
    s.xisr = 0;
    s.pendingPriority = NONE;
    return xirr;
  }

  /** H_EOI: the interrupt of an XIRR has been handled; its CPPR is set again. */
  eoi(server: number, xirr: number): void {
    const s = this.servers[server]!;
    s.cppr = xirr >>> 24;
    const source = xirr & 0xffffff;
    if (this.has(source)) {
      const i = source - this.first;
      if (this.level[i]) {
        this.state[i]! &= ~Bit.sent;
        if (this.state[i]! & Bit.asserted) this.waiting.add(source);
      }
    }
    if (!s.xisr) this.resend(server, s);
  }

  /** H_IPOLL: what would be taken, without taking it. */
  poll(server: number): { xirr: number; mfrr: number } {
    const s = this.servers[server]!;
    return { xirr: ((s.cppr << 24) | s.xisr) >>> 0, mfrr: s.mfrr };
  }

  /** Sources and servers as text, for `info pic`. */
  report(): string {
    const hex = (n: number, w = 2) => n.toString(16).padStart(w, "0");
    let out = "";
    this.servers.forEach((s, n) => {
      out += `CPU ${n} XIRR=${hex(((s.cppr << 24) | s.xisr) >>> 0, 8)} PP=${hex(s.pendingPriority)} MFRR=${hex(s.mfrr)}\n`;
    });
    out += `ICS ${hex(this.first, 4)}..${hex(this.first + this.count - 1, 4)}\n`;
    for (let i = 0; i < this.count; i++) {
      if (this.priority[i] === NONE && !this.state[i]) continue;
      out += `  ${hex(this.first + i, 4)} ${this.level[i] ? "LSI" : "MSI"} ${hex(this.priority[i]!)} ${hex(this.state[i]!)}\n`;
    }
    return out;
  }

  reset(): void {
    this.waiting.clear();
    for (let i = 0; i < this.count; i++) this.state[i]! &= this.level[i] ? Bit.asserted : 0;
    this.server.fill(0);
    this.priority.fill(NONE);
    this.savedPriority.fill(NONE);
    this.servers.forEach((s, n) => {
      Object.assign(s, { cppr: 0, mfrr: NONE, xisr: 0, pendingPriority: NONE });
      this.onOutput(n, false);
    });
  }

  save(): DeviceState {
    return {
      state: this.state.slice(),
      level: this.level.slice(),
      server: [...this.server],
      priority: this.priority.slice(),
      savedPriority: this.savedPriority.slice(),
      servers: this.servers.map((s) => [s.cppr, s.mfrr, s.xisr, s.pendingPriority]),
      waiting: [...this.waiting],
    };
  }

  restore(state: DeviceState): void {
    this.state.set((state.state as Uint8Array).subarray(0, this.count));
    this.level.set((state.level as Uint8Array).subarray(0, this.count));
    this.server.set((state.server as number[]).slice(0, this.count));
    this.priority.set((state.priority as Uint8Array).subarray(0, this.count));
    this.savedPriority.set((state.savedPriority as Uint8Array).subarray(0, this.count));
    for (const [n, row] of (state.servers as number[][]).entries()) {
      const s = this.servers[n];
      if (!s) continue;
      [s.cppr, s.mfrr, s.xisr, s.pendingPriority] = row as [number, number, number, number];
      this.onOutput(n, s.xisr !== 0);
    }
    this.waiting.clear();
    for (const source of state.waiting as number[]) if (this.has(source)) this.waiting.add(source);
  }
}

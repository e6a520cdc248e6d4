/**
 * Platform events: the power button reaches the guest as an EPOW error log that it fetches by RTAS after an interrupt.
 * Source: LoPAR §10.3 (error logs), §10.3.2.2.8 (EPOW section), §7.3.3 and §7.3.5 (event-scan, check-exception).
 * Not emulated: hot-plug events, machine checks (ibm,nmi-register).
 */
import type { Device, DeviceState } from "../core/device.js";
import { type Rtas, type RtasCall, RtasStatus } from "./rtas.js";

/** Event classes of the masks that guests give. */
const CLASS_EPOW = 0x40000000;
/** First word of a log: version 6, an event, fully recovered, with an extended part, EPOW. */
const SUMMARY = 0x06000000 | 0x00200000 | 0x00040000 | 0x40;
const COMPANY_IBM = 0x49424d00;
const EPOW_SHUTDOWN = 3;
const SHUTDOWN_NORMAL = 1;
const SYSTEM_WIDE = 1;
const QUEUE_MAX = 16;

/** Events that wait to be fetched. */
export class SpaprEvents implements Device {
  readonly type = "spapr-events";
  private waiting: Uint8Array[] = [];

  /** @param epow raises the interrupt of EPOW events */
  constructor(
    private readonly epow: () => void,
    private readonly wallMs: () => number,
  ) {}

  /** The power button. */
  powerdown(): void {
    if (this.waiting.length >= QUEUE_MAX) return;
    this.waiting.push(epowLog(new Date(this.wallMs())));
    this.epow();
  }

  addServices(rtas: Rtas): void {
    rtas.add(
      { name: "check-exception", args: 6, returns: 1, call: (c) => this.fetch(c, c.args[2]!, c.args[4]!, c.args[5]!) },
      { name: "event-scan", args: 4, returns: 1, call: (c) => this.fetch(c, c.args[0]!, c.args[2]!, c.args[3]!) },
    );
  }

  private fetch(c: RtasCall, mask: number, buffer: number, length: number): number {
    const log = this.waiting[0];
    if (!log || !(mask & CLASS_EPOW)) return RtasStatus.noErrorsFound;
    this.waiting.shift();
    c.memory.writeBytes(buffer, log.subarray(0, length));
    if (this.waiting.length > 0) this.epow();
    return RtasStatus.success;
  }

  reset(): void {
    this.waiting = [];
  }

  save(): DeviceState {
    return { waiting: this.waiting.map((l) => l.slice()) };
  }

  restore(state: DeviceState): void {
    this.waiting = (state.waiting as Uint8Array[]).slice(0, QUEUE_MAX);
  }
}

function bcd(n: number): number {
  return (Math.floor(n / 10) << 4) | (n % 10);
}

/** A log that asks for an orderly shutdown. */
function epowLog(now: Date): Uint8Array {
  const bytes: number[] = [];
  const u8 = (...v: number[]) => bytes.push(...v);
  const u16 = (v: number) => u8(v >>> 8, v & 255);
  const u32 = (v: number) => u8(v >>> 24, (v >>> 16) & 255, (v >>> 8) & 255, v & 255);
  const section = (id: string, length: number, version = 1, subtype = 0) => {
    u8(id.charCodeAt(0), id.charCodeAt(1));
    u16(length);
    u8(version, subtype);
    u16(0);
  };
  // The extended log: valid, big-endian; platform event format.
  u8(0x80 | 0x08, 0, 0x10 | 0x0e, 0, 0, 0, 0, 0, 0, 0, 0, 0);
  u32(COMPANY_IBM);
  section("PH", 48);
  const century = Math.floor(now.getUTCFullYear() / 100);
  u8(bcd(century), bcd(now.getUTCFullYear() % 100), bcd(now.getUTCMonth() + 1), bcd(now.getUTCDate()));
  u8(bcd(now.getUTCHours()), bcd(now.getUTCMinutes()), bcd(now.getUTCSeconds()), 0);
  u8(0, 0, 0, 0, 0, 0, 0, 0);
  // Created by the hypervisor; three sections.
  u8("H".charCodeAt(0), 0, 0, 3);
  for (let i = 0; i < 5; i++) u32(0);
  section("UH", 24);
  // Subsystem "external environment", informational, an event for the system.
  u8(0xa0, 0, 0, 0);
  u32(0);
  u16(0);
  u16(0x2000);
  u32(0);
  section("EP", 20, 2);
  u8(EPOW_SHUTDOWN, SHUTDOWN_NORMAL, SYSTEM_WIDE, 0);
  u32(0);
  u32(0);
  const out = new Uint8Array(8 + bytes.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, SUMMARY);
  view.setUint32(4, bytes.length);
  out.set(bytes, 8);
  return out;
}

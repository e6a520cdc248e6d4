/**
 * The receive ring of a gigabit card: filters, checksum verdicts, VLAN tags, buffers of the ring.
 * Source: Intel 317453, §3.2 (reception), §13.4.22 (RCTL), §13.5 (filters).
 * Not emulated: the frame check sequence (its four bytes are zero), packet-split, interrupt delays (ITR holds them back).
 */
import type { AddressSpace } from "../../memory/address-space.js";
import { get16 } from "../../net/bytes.js";
import { addWords, foldChecksum } from "../../net/offload.js";
import { Cause, RAH_VALID, Rctl, Reg, type RegisterFile, Rxcsum } from "./e1000-registers.js";

const DESCRIPTOR = 16;
const ETH_HEADER = 14;
const MIN_FRAME = 60;
const CRC_BYTES = 4;
const MAX_STANDARD = 1518;
const MAX_LONG = 16384;
const SIZES = [2048, 1024, 512, 256] as const;
const RA_ENTRIES = 16;
const Rx = { done: 1, endOfPacket: 2, ignoreChecksum: 4, vlan: 8, tcpUdpSum: 0x20, ipSum: 0x40, inexact: 0x80 } as const;
const ErrorBit = { tcpUdp: 0x20, ip: 0x40 } as const;

export interface ReceivePort {
  readonly memory: AddressSpace;
  readonly vlanMode: boolean;
  cause(bits: number): void;
}

export class ReceiveRing {
  private readonly descriptor = new Uint8Array(DESCRIPTOR);
  private readonly view = new DataView(this.descriptor.buffer);
  private readonly padded = new Uint8Array(MAX_LONG + CRC_BYTES);

  constructor(
    private readonly regs: RegisterFile,
    private readonly port: ReceivePort,
  ) {}

  private get count(): number {
    return this.regs.get(Reg.rdlen) / DESCRIPTOR;
  }

  /** Free descriptors; 0 when head or tail are outside the ring. */
  private get free(): number {
    const { count } = this;
    const head = this.regs.get(Reg.rdh);
    const tail = this.regs.get(Reg.rdt);
    return head >= count || tail >= count ? 0 : (tail - head + count) % count;
  }

  private get bufferBytes(): number {
    const rctl = this.regs.get(Reg.rctl);
    const size = SIZES[(rctl >>> Rctl.sizeShift) & 3]!;
    return rctl & Rctl.sizeExtension && size < 2048 ? size * 16 : size;
  }

  /** A card that is off takes everything and keeps nothing. */
  get enabled(): boolean {
    return (this.regs.get(Reg.rctl) & Rctl.enable) !== 0;
  }

  get hasRoom(): boolean {
    return this.free > 0;
  }

  /** @returns false when the ring has no room for it now */
  receive(frame: Uint8Array): boolean {
    const { regs } = this;
    const rctl = regs.get(Reg.rctl);
    if (frame.length < ETH_HEADER) return true;
    if (frame.length > (rctl & Rctl.longPackets ? MAX_LONG : MAX_STANDARD + 4)) {
      regs.count(Reg.roc);
      return true;
    }
    const filter = this.accepts(frame, rctl);
    if (filter === "no") return true;
    let status = filter === "inexact" ? Rx.inexact : 0;
    let special = 0;
    let length = frame.length;
    if (this.port.vlanMode && length >= ETH_HEADER + 4 && get16(frame, 12) === regs.get(Reg.vet)) {
      special = get16(frame, 14);
      status |= Rx.vlan;
      this.padded.set(frame.subarray(0, 12));
      this.padded.set(frame.subarray(16), 12);
      length -= 4;
    } else this.padded.set(frame);
    if (length < MIN_FRAME) {
      this.padded.fill(0, length, MIN_FRAME);
      length = MIN_FRAME;
    }
    const bytes = this.padded.subarray(0, length);
    const verdict = this.checksums(bytes);
    status |= verdict.status;
    const total = length + (rctl & Rctl.stripCrc ? 0 : CRC_BYTES);
    this.padded.fill(0, length, total);
    const size = this.bufferBytes;
    const needed = Math.ceil(total / size);
    if (needed > this.free) {
      // A frame that the whole ring cannot hold is lost; otherwise it waits.
      if (needed >= this.count) {
        regs.count(Reg.mpc);
        return true;
      }
      regs.count(Reg.rnbc);
      this.port.cause(Cause.rxOverrun);
      return false;
    }
    const base = regs.get(Reg.rdbal) + regs.get(Reg.rdbah) * 2 ** 32;
    let head = regs.get(Reg.rdh);
    for (let at = 0; at < total; at += size) {
      const n = Math.min(size, total - at);
      const where = base + head * DESCRIPTOR;
      this.port.memory.readBytes(where, this.descriptor);
      const address = this.view.getUint32(0, true) + this.view.getUint32(4, true) * 2 ** 32;
      // A null descriptor takes nothing (§3.2.7.1).
      if (address !== 0) this.port.memory.writeBytes(address, this.padded.subarray(at, at + n));
      const last = at + n === total;
      this.view.setUint16(8, n, true);
      this.view.setUint16(10, verdict.sum, true);
      this.view.setUint8(12, Rx.done | (last ? Rx.endOfPacket | status : 0));
      this.view.setUint8(13, last ? verdict.errors : 0);
      this.view.setUint16(14, last ? special : 0, true);
      this.port.memory.writeBytes(where + 8, this.descriptor.subarray(8));
      head = (head + 1) % this.count;
      regs.set(Reg.rdh, head);
    }
    this.countFrame(frame, total);
    let causes: number = Cause.rxTimer;
    if (this.free <= this.count >> (1 + ((rctl >>> Rctl.minimumShift) & 3))) causes |= Cause.rxMinimum;
    this.port.cause(causes);
    return true;
  }

  private countFrame(frame: Uint8Array, bytes: number): void {
    const { regs } = this;
    regs.count(Reg.tpr);
    regs.count(Reg.gprc);
    regs.count64(Reg.torl, bytes);
    regs.count64(Reg.gorcl, bytes);
    if (frame[0]! & 1) regs.count(isBroadcast(frame) ? Reg.bprc : Reg.mprc);
  }

  private accepts(frame: Uint8Array, rctl: number): "no" | "exact" | "inexact" {
    const { regs } = this;
    if (rctl & Rctl.vlanFilter && frame.length >= ETH_HEADER + 4 && get16(frame, 12) === regs.get(Reg.vet)) {
      const vid = get16(frame, 14) & 0xfff;
      if (!(regs.get(Reg.vfta + 4 * (vid >> 5)) & (1 << (vid & 31)))) return "no";
    }
    const group = (frame[0]! & 1) !== 0;
    if (group && isBroadcast(frame) && rctl & Rctl.broadcast) return "exact";
    const low = (frame[0]! | (frame[1]! << 8) | (frame[2]! << 16) | (frame[3]! << 24)) >>> 0;
    const high = frame[4]! | (frame[5]! << 8);
    for (let i = 0; i < RA_ENTRIES; i++) {
      const rah = regs.get(Reg.ra + 8 * i + 4);
      if (rah & RAH_VALID && regs.get(Reg.ra + 8 * i) === low && (rah & 0xffff) === high) return "exact";
    }
    if (!group) return rctl & Rctl.unicastPromisc ? "exact" : "no";
    if (rctl & Rctl.multicastPromisc) return "exact";
    // 12 bits of the address, chosen by MO, index the table (§13.5.1).
    const shift = [4, 3, 2, 0][(rctl >>> Rctl.multicastOffsetShift) & 3]!;
    const hash = ((frame[4]! | (frame[5]! << 8)) >> shift) & 0xfff;
    return regs.get(Reg.mta + 4 * (hash >> 5)) & (1 << (hash & 31)) ? "inexact" : "no";
  }

  /** What the card says of the IP, TCP and UDP checksums (§3.2.9). */
  private checksums(frame: Uint8Array): { status: number; errors: number; sum: number } {
    const rxcsum = this.regs.get(Reg.rxcsum);
    const start = rxcsum & 0xff;
    const sum = start < frame.length ? foldChecksum(addWords(0, frame, start, frame.length)) : 0;
    const nothing = { status: Rx.ignoreChecksum, errors: 0, sum };
    if (!(rxcsum & (Rxcsum.ip | Rxcsum.tcpUdp)) || get16(frame, 12) !== 0x0800) return nothing;
    const header = (frame[ETH_HEADER]! & 15) * 4;
    const total = get16(frame, ETH_HEADER + 2);
    if (frame[ETH_HEADER]! >> 4 !== 4 || header < 20 || total < header || ETH_HEADER + total > frame.length) return nothing;
    let status = 0;
    let errors = 0;
    const at = ETH_HEADER + header;
    if (rxcsum & Rxcsum.ip) {
      status |= Rx.ipSum;
      if (foldChecksum(addWords(0, frame, ETH_HEADER, at)) !== 0) errors |= ErrorBit.ip;
    }
    const protocol = frame[ETH_HEADER + 9]!;
    const whole = (get16(frame, ETH_HEADER + 6) & 0x3fff) === 0;
    const udpWithout = protocol === 17 && get16(frame, at + 6) === 0;
    if (rxcsum & Rxcsum.tcpUdp && whole && (protocol === 6 || protocol === 17) && !udpWithout) {
      status |= Rx.tcpUdpSum;
      const length = total - header;
      const pseudo = addWords(protocol + length, frame, ETH_HEADER + 12, ETH_HEADER + 20);
      if (foldChecksum(addWords(pseudo, frame, at, at + length)) !== 0) errors |= ErrorBit.tcpUdp;
    }
    return { status: status === 0 ? Rx.ignoreChecksum : status, errors, sum };
  }
}

function isBroadcast(frame: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (frame[i] !== 0xff) return false;
  return true;
}

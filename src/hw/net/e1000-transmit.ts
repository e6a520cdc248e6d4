/**
 * The transmit ring of a gigabit card: legacy, context and data descriptors; checksums, segmentation, VLAN tags.
 * Source: Intel 317453, §3.3 (descriptors), §3.4 (ring), §3.5 (segmentation), §3.6 (checksums).
 * Not emulated: UDP segmentation, report packet sent, delayed interrupts (ITR holds them back).
 */
import type { AddressSpace } from "../../memory/address-space.js";
import { MAX_FRAME_BYTES, type NetBackend } from "../../net/backend.js";
import { get16, put16 } from "../../net/bytes.js";
import { addWords, foldChecksum, GsoType, NET_HDR_NEEDS_CSUM, segmentTcp } from "../../net/offload.js";
import { Cause, Reg, type RegisterFile, Tctl } from "./e1000-registers.js";

const DESCRIPTOR = 16;
/** What one doorbell may do before the guest runs on: descriptors, and bytes. */
const MAX_DESCRIPTORS = 512;
const MAX_BYTES = 2 * 2 ** 20;
const ETH_HEADER = 14;
const MIN_FRAME = 60;

/** Commands, of all kinds. */
const Cmd = { endOfPacket: 1, insertChecksum: 4, segment: 4, reportStatus: 8, extended: 0x20, vlan: 0x40 } as const;
const DTYP_CONTEXT = 0;
const DTYP_DATA = 1;
const Popts = { ip: 1, tcpUdp: 2 } as const;
const TUCMD_TCP = 1;
const TUCMD_IP = 2;
const STATUS_DONE = 1;

interface Context {
  ipStart: number;
  ipAt: number;
  ipEnd: number;
  tuStart: number;
  tuAt: number;
  tuEnd: number;
  command: number;
  headerBytes: number;
  mss: number;
}

/** What the ring needs of its card. */
export interface TransmitPort {
  readonly memory: AddressSpace;
  readonly backend: NetBackend | undefined;
  readonly linkUp: boolean;
  readonly vlanMode: boolean;
  drop(what: string): void;
  cause(bits: number): void;
}

export class TransmitRing {
  private readonly descriptor = new Uint8Array(DESCRIPTOR);
  private readonly view = new DataView(this.descriptor.buffer);
  private readonly frame = new Uint8Array(MAX_FRAME_BYTES + 4);
  private length = 0;
  /** The packet is longer than any, or its descriptors made no sense. */
  private bad = false;
  private context: Context = {
    ipStart: 0,
    ipAt: 0,
    ipEnd: 0,
    tuStart: 0,
    tuAt: 0,
    tuEnd: 0,
    command: 0,
    headerBytes: 0,
    mss: 0,
  };
  private options = 0;
  private segmenting = false;

  constructor(
    private readonly regs: RegisterFile,
    private readonly port: TransmitPort,
  ) {}

  reset(): void {
    this.length = 0;
    this.bad = false;
    this.options = 0;
    this.segmenting = false;
  }

  /** Sends what is between head and tail. @returns true when there is more than one turn's worth */
  run(): boolean {
    const { regs } = this;
    if (!(regs.get(Reg.tctl) & Tctl.enable)) return false;
    const count = regs.get(Reg.tdlen) / DESCRIPTOR;
    let head = regs.get(Reg.tdh);
    const tail = regs.get(Reg.tdt);
    if (head === tail) return false;
    // A ring without entries, or a head or tail outside it: the card stops.
    if (head >= count || tail >= count) {
      this.port.drop(`transmit ring of ${count}: head ${head}, tail ${tail}`);
      return false;
    }
    const base = regs.get(Reg.tdbal) + regs.get(Reg.tdbah) * 2 ** 32;
    let causes = 0;
    let bytes = 0;
    let n = 0;
    while (head !== tail && n < MAX_DESCRIPTORS && bytes < MAX_BYTES) {
      const at = base + head * DESCRIPTOR;
      this.port.memory.readBytes(at, this.descriptor);
      bytes += this.take();
      if (this.descriptor[11]! & Cmd.reportStatus) {
        this.port.memory.writeBytes(at + 12, Uint8Array.of((this.descriptor[12]! & 0xf0) | STATUS_DONE));
        causes |= Cause.txDescWritten;
      }
      head = (head + 1) % count;
      regs.set(Reg.tdh, head);
      n++;
    }
    if (head === tail) causes |= Cause.txQueueEmpty;
    if (causes) this.port.cause(causes);
    return head !== tail;
  }

  /** One descriptor. @returns bytes moved */
  private take(): number {
    const { view } = this;
    const lower = view.getUint32(8, true);
    const upper = view.getUint32(12, true);
    const command = lower >>> 24;
    const extended = (command & Cmd.extended) !== 0;
    const type = (lower >>> 20) & 15;
    if (extended && type === DTYP_CONTEXT) {
      this.context = {
        ipStart: view.getUint8(0),
        ipAt: view.getUint8(1),
        ipEnd: view.getUint16(2, true),
        tuStart: view.getUint8(4),
        tuAt: view.getUint8(5),
        tuEnd: view.getUint16(6, true),
        command,
        headerBytes: view.getUint8(13),
        mss: view.getUint16(14, true),
      };
      return 0;
    }
    if (extended && type !== DTYP_DATA) this.bad = true;
    const length = extended ? lower & 0xfffff : lower & 0xffff;
    if (this.length === 0 && extended) {
      this.options = (upper >>> 8) & 0xff;
      this.segmenting = (command & Cmd.segment) !== 0;
    }
    if (this.length + length > MAX_FRAME_BYTES) this.bad = true;
    else {
      const address = view.getUint32(0, true) + view.getUint32(4, true) * 2 ** 32;
      this.port.memory.readBytes(address, this.frame.subarray(this.length, this.length + length));
      this.length += length;
    }
    if (!(command & Cmd.endOfPacket)) return length;
    const legacySum = !extended && (command & Cmd.insertChecksum) !== 0;
    const bytes = this.length;
    if (this.bad || bytes < ETH_HEADER) this.port.drop(`packet of ${bytes} bytes`);
    else {
      if (legacySum) this.sum((upper >>> 8) & 0xff, (lower >>> 16) & 0xff, 0);
      this.finish(command & Cmd.vlan && this.port.vlanMode ? upper >>> 16 : undefined);
    }
    this.reset();
    return length;
  }

  /** Puts the checksum of [start, end] at a place; `end` 0 = the end of the packet. */
  private sum(start: number, at: number, end: number): boolean {
    const stop = end === 0 ? this.length : Math.min(end + 1, this.length);
    if (start >= stop || at + 2 > this.length) return false;
    put16(this.frame, at, foldChecksum(addWords(0, this.frame, start, stop)) || 0xffff);
    return true;
  }

  private finish(tag: number | undefined): void {
    const { context: c, frame, port, regs } = this;
    const header = {
      flags: NET_HDR_NEEDS_CSUM,
      gsoType: GsoType.none as number,
      gsoSize: 0,
      csumStart: c.tuStart,
      csumOffset: c.tuAt - c.tuStart,
    };
    const { backend } = port;
    const large = this.segmenting && this.length - c.headerBytes > c.mss;
    if (this.segmenting && !(c.command & TUCMD_TCP)) return port.drop("UDP segmentation");
    if (large) {
      const v4 = (c.command & TUCMD_IP) !== 0;
      header.gsoType = v4 ? GsoType.tcpv4 : GsoType.tcpv6;
      header.gsoSize = c.mss;
      const wrong = c.mss === 0 || c.tuStart + 20 > this.length || c.ipStart + (v4 ? 20 : 40) > this.length || c.tuAt < c.tuStart;
      if (wrong) return port.drop(`packet to be cut at ${c.mss}`);
    }
    if (this.segmenting && this.length >= c.ipStart + 40) {
      // The driver leaves the length out, and the IP checksum, and the pseudo header's length.
      if (c.command & TUCMD_IP) put16(frame, c.ipStart + 2, this.length - c.ipStart);
      else put16(frame, c.ipStart + 4, this.length - c.ipStart - 40);
      if (!large && c.tuAt + 2 <= this.length)
        put16(frame, c.tuAt, ~foldChecksum(get16(frame, c.tuAt) + this.length - c.tuStart) & 0xffff);
    }
    if (this.options & Popts.ip) {
      if (c.ipAt + 2 <= this.length) put16(frame, c.ipAt, 0);
      this.sum(c.ipStart, c.ipAt, c.ipEnd);
    }
    const needsSum = (this.options & Popts.tcpUdp) !== 0 || large;
    const whole = this.tagged(tag);
    const shift = whole.length - this.length;
    header.csumStart += shift;
    regs.count(Reg.tpt);
    regs.count(Reg.gptc);
    regs.count64(Reg.totl, this.length);
    regs.count64(Reg.gotcl, this.length);
    if (frame[0]! & 1) regs.count(frame.subarray(0, 6).every((b) => b === 0xff) ? Reg.bptc : Reg.mptc);
    if (!backend || !port.linkUp) return;
    if (large) {
      regs.count(Reg.tsctc);
      if (backend.takesOffload) backend.send(whole, header);
      else if (!segmentTcp(whole, header, (segment) => backend.send(segment))) port.drop(`packet to be cut at ${c.mss}`);
      return;
    }
    if (needsSum && backend.takesOffload && c.tuEnd === 0 && c.tuAt >= c.tuStart && c.tuAt + 2 <= this.length) {
      backend.send(whole, header);
      return;
    }
    if (needsSum) this.sum(c.tuStart, c.tuAt, c.tuEnd);
    backend.send(needsSum && shift > 0 ? this.tagged(tag) : whole);
  }

  /** The frame, padded, with its VLAN tag. */
  private tagged(tag: number | undefined): Uint8Array {
    if (this.regs.get(Reg.tctl) & Tctl.padShort && this.length < MIN_FRAME) {
      this.frame.fill(0, this.length, MIN_FRAME);
      this.length = MIN_FRAME;
    }
    const plain = this.frame.subarray(0, this.length);
    if (tag === undefined) return plain;
    const out = new Uint8Array(this.length + 4);
    out.set(plain.subarray(0, 12));
    put16(out, 12, this.regs.get(Reg.vet));
    put16(out, 14, tag);
    out.set(plain.subarray(12), 16);
    return out;
  }

  save() {
    return {
      frame: this.frame.slice(0, this.length),
      bad: this.bad,
      options: this.options,
      segmenting: this.segmenting,
      context: { ...this.context },
    };
  }

  restore(s: ReturnType<TransmitRing["save"]>): void {
    this.length = Math.min(s.frame.length, MAX_FRAME_BYTES);
    this.frame.set(s.frame.subarray(0, this.length));
    this.bad = s.bad;
    this.options = s.options;
    this.segmenting = s.segmenting;
    this.context = { ...s.context };
  }
}

/**
 * virtio network device (virtio 1.2 §5.1) over a NetBackend: one pair of queues and the control queue, mergeable receive
 * buffers, receive filters, and checksums and segmentation left to the device in both directions: a backend that can takes
 * and gives unfinished packets of up to 64 KiB, for others the device finishes them.
 *
 * Not emulated: more than one pair of queues, RSS, UDP and ECN offloads on the way in, speed and duplex, standby.
 */

import { type CardOffloads, detachNic, MAX_FRAME_BYTES, type NetBackend, NO_OFFLOADS } from "../../net/backend.js";
import { completeChecksum, GsoType, NET_HDR_NEEDS_CSUM, type NetHeader, segmentTcp } from "../../net/offload.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceProperty, DeviceType } from "../core/device-type.js";
import type { Chain } from "./chain.js";
import { put16, VirtioDevice } from "./device.js";
import { VirtioPci, type VirtioPciOptions, virtioCommonProperties, virtioPciProperties } from "./pci.js";
import type { VirtQueue } from "./queue.js";
import { featureBits, VirtioFeature, VirtioId } from "./spec.js";

/** Feature bits (§5.1.3). */
export const NetFeature = {
  csum: 0,
  guestCsum: 1,
  ctrlGuestOffloads: 2,
  mtu: 3,
  mac: 5,
  guestTso4: 7,
  guestTso6: 8,
  hostTso4: 11,
  hostTso6: 12,
  hostEcn: 13,
  hostUfo: 14,
  mrgRxbuf: 15,
  status: 16,
  ctrlVq: 17,
  ctrlRx: 18,
  ctrlVlan: 19,
  ctrlRxExtra: 20,
  guestAnnounce: 21,
  ctrlMacAddr: 23,
} as const;

/** Configuration layout (§5.1.4). */
const Config = { mac: 0, status: 6, maxPairs: 8, mtu: 10, bytes: 8, bytesWithMtu: 12 } as const;
const LINK_UP = 1;
const ANNOUNCE = 2;

/** Header before every packet; the short one has no num_buffers. */
const HEADER_BYTES = 12;
const SHORT_HEADER_BYTES = 10;
const NUM_BUFFERS = 10;

/** Control commands (§5.1.6.5): class, then command. */
const Ctrl = { rx: 0, mac: 1, vlan: 2, announce: 3, guestOffloads: 5 } as const;
const CtrlRx = { promisc: 0, allMulti: 1, allUni: 2, noMulti: 3, noUni: 4, noBroadcast: 5 } as const;
const CtrlMac = { table: 0, address: 1 } as const;
const CtrlVlan = { add: 0, remove: 1 } as const;
const CTRL_OK = 0;
const CTRL_ERROR = 1;

/** Addresses kept of each kind; a driver that gives more gets all of that kind. */
const MAC_TABLE_ENTRIES = 64;
const MAX_VLANS = 4096;
const MAC_BYTES = 6;
const ETH_HEADER = 14;
const VLAN_TAG_TYPE = 0x8100;

export interface VirtioNetOptions {
  /** Six bytes. */
  mac: Uint8Array;
  /** None: the card's cable is not plugged in. */
  netdev?: NetBackend | undefined;
  /** MTU that the driver is told; 0 = not told. */
  hostMtu?: number | undefined;
  rxQueueSize?: number | undefined;
  txQueueSize?: number | undefined;
  /** Offer checksum and segmentation on the way out; default on. */
  csum?: boolean | undefined;
  hostTso4?: boolean | undefined;
  hostTso6?: boolean | undefined;
  hostEcn?: boolean | undefined;
  /** UDP segmentation: offered when the backend does it. */
  hostUfo?: boolean | undefined;
  /** Take unfinished packets on the way in, where the backend gives them; default on. */
  guestCsum?: boolean | undefined;
  guestTso4?: boolean | undefined;
  guestTso6?: boolean | undefined;
  ctrlGuestOffloads?: boolean | undefined;
  mrgRxbuf?: boolean | undefined;
  status?: boolean | undefined;
  ctrlVq?: boolean | undefined;
  indirectDesc?: boolean | undefined;
  eventIdx?: boolean | undefined;
}

/** The device; a transport carries it. */
export class VirtioNet extends VirtioDevice {
  override readonly virtioId = VirtioId.net;
  private readonly rx: VirtQueue;
  private readonly tx: VirtQueue;
  private readonly permanentMac: Uint8Array;
  private readonly backend: NetBackend | undefined;
  private readonly frame = new Uint8Array(MAX_FRAME_BYTES);
  private readonly rxHeader = new Uint8Array(HEADER_BYTES);
  private readonly txHeader = new Uint8Array(HEADER_BYTES);
  private readonly chains: Chain[] = [];
  private readonly lengths: number[] = [];
  private headerBytes = SHORT_HEADER_BYTES;
  private mergeable = false;
  private promisc = true;
  private allMulti = false;
  private allUni = false;
  private noMulti = false;
  private noUni = false;
  private noBroadcast = false;
  private uniTable = new Set<number>();
  private multiTable = new Set<number>();
  private uniOverflow = false;
  private multiOverflow = false;
  private readonly vlans = new Uint8Array(MAX_VLANS / 8);
  private starved = false;
  /** What the driver takes unfinished: what was agreed on, or less by a control command. */
  private offloads: CardOffloads = NO_OFFLOADS;
  /** Packets that were not sent because they were malformed or too long, and frames that did not fit. */
  dropped = 0;
  /** The receive filters changed: QMP NIC_RX_FILTER_CHANGED. */
  onFilterChange: () => void = () => {};

  constructor(ctx: DeviceContext, options: VirtioNetOptions) {
    const mtu = options.hostMtu ?? 0;
    let features = featureBits(NetFeature.mac);
    if (options.status ?? true) features |= featureBits(NetFeature.status);
    if (options.mrgRxbuf ?? true) features |= featureBits(NetFeature.mrgRxbuf);
    if (options.csum ?? true) {
      features |= featureBits(NetFeature.csum);
      // Segmentation needs the checksum feature.
      if (options.hostTso4 ?? true) features |= featureBits(NetFeature.hostTso4);
      if (options.hostTso6 ?? true) features |= featureBits(NetFeature.hostTso6);
      if (options.hostEcn ?? true) features |= featureBits(NetFeature.hostEcn);
      if ((options.hostUfo ?? true) && options.netdev?.takesOffload) features |= featureBits(NetFeature.hostUfo);
    }
    if ((options.guestCsum ?? true) && options.netdev?.takesOffload) {
      features |= featureBits(NetFeature.guestCsum);
      if (options.guestTso4 ?? true) features |= featureBits(NetFeature.guestTso4);
      if (options.guestTso6 ?? true) features |= featureBits(NetFeature.guestTso6);
      if ((options.ctrlGuestOffloads ?? true) && (options.ctrlVq ?? true)) features |= featureBits(NetFeature.ctrlGuestOffloads);
    }
    if (mtu > 0) features |= featureBits(NetFeature.mtu);
    if (options.ctrlVq ?? true)
      features |= featureBits(
        NetFeature.ctrlVq,
        NetFeature.ctrlRx,
        NetFeature.ctrlVlan,
        NetFeature.ctrlRxExtra,
        NetFeature.ctrlMacAddr,
        NetFeature.guestAnnounce,
      );
    super(ctx, "virtio-net", features, new Uint8Array(mtu > 0 ? Config.bytesWithMtu : Config.bytes), options);
    this.permanentMac = options.mac.slice(0, MAC_BYTES);
    this.config.set(this.permanentMac, Config.mac);
    if (mtu > 0) {
      put16(this.config, Config.maxPairs, 1);
      put16(this.config, Config.mtu, mtu);
    }
    this.rx = this.addQueue(options.rxQueueSize ?? 256, () => this.roomAgain());
    this.tx = this.addQueue(options.txQueueSize ?? 256, () => this.transmit());
    if (options.ctrlVq ?? true) this.addQueue(64, (q) => this.control(q));
    this.backend = options.netdev;
    this.setLink(this.backend?.linkUp ?? false);
    if (this.backend) {
      this.backend.canReceive = () => this.canReceive();
      this.backend.onReceive = (frame, header) => this.receive(frame, header);
      this.backend.cardOffloads = () => this.offloads;
      this.backend.onLinkChange = (up) => this.setLink(up);
    }
  }

  private get linkUp(): boolean {
    return (this.config[Config.status]! & LINK_UP) !== 0;
  }

  private setLink(up: boolean): void {
    if (up === this.linkUp) return;
    this.config[Config.status] = (this.config[Config.status]! & ~LINK_UP) | (up ? LINK_UP : 0);
    this.configChanged();
  }

  /** The address that the card answers to. */
  get mac(): Uint8Array {
    return this.config.slice(Config.mac, Config.mac + MAC_BYTES);
  }

  /** Asks the driver to announce itself to the network, as after a migration. */
  announce(): void {
    if (!this.has(NetFeature.guestAnnounce)) return;
    this.config[Config.status] = this.config[Config.status]! | ANNOUNCE;
    this.configChanged();
  }

  // To the network.

  private transmit(): void {
    let done = 0;
    this.drain(this.tx, (chain) => {
      done++;
      this.sendChain(chain);
      this.tx.push(chain, 0);
    });
    if (done > 0) this.interrupt(this.tx);
  }

  private sendChain(chain: Chain): void {
    const { readable } = chain;
    const length = readable.total - this.headerBytes;
    if (length < ETH_HEADER || length > MAX_FRAME_BYTES) {
      this.drop(`packet of ${length} bytes`);
      return;
    }
    const bytes = this.frame.subarray(0, length);
    readable.read(this.headerBytes, bytes);
    if (!this.backend || !this.linkUp) return;
    if (!this.has(NetFeature.csum)) {
      this.backend.send(bytes);
      return;
    }
    readable.read(0, this.txHeader.subarray(0, this.headerBytes));
    const h = parseHeader(this.txHeader);
    const { backend } = this;
    if (h.flags & NET_HDR_NEEDS_CSUM && h.csumStart + h.csumOffset + 2 > length) {
      this.drop(`checksum at ${h.csumStart} + ${h.csumOffset} of ${length} bytes`);
      return;
    }
    if (h.gsoType !== GsoType.none) {
      const sent =
        this.maySegment(h) &&
        (backend.takesOffload ? this.sendWhole(bytes, h) : segmentTcp(bytes, h, (segment) => backend.send(segment)));
      if (!sent) this.drop(`packet to be cut, type ${h.gsoType}, size ${h.gsoSize}`);
      return;
    }
    if (h.flags & NET_HDR_NEEDS_CSUM && !backend.takesOffload) completeChecksum(bytes, h);
    backend.send(bytes, backend.takesOffload ? h : undefined);
  }

  private sendWhole(bytes: Uint8Array, header: NetHeader): boolean {
    this.backend!.send(bytes, header);
    return true;
  }

  /** Whether a packet that is to be cut is of a kind that was agreed on. */
  private maySegment(h: NetHeader): boolean {
    if (h.gsoSize === 0 || (h.ecn && !this.has(NetFeature.hostEcn))) return false;
    switch (h.gsoType) {
      case GsoType.tcpv4:
        return this.has(NetFeature.hostTso4);
      case GsoType.tcpv6:
        return this.has(NetFeature.hostTso6);
      case GsoType.udp:
        return this.has(NetFeature.hostUfo);
    }
    return false;
  }

  private drop(what: string): void {
    this.dropped++;
    this.ctx.trace.guestError(this.name, what);
  }

  // From the network.

  /** A card without a driver takes everything and keeps nothing. */
  private get listening(): boolean {
    return this.driverOk && this.rx.usable && this.dmaAllowed;
  }

  private canReceive(): boolean {
    if (!this.listening) return true;
    if (!this.rx.empty) return true;
    return !this.starve();
  }

  /** Asks for a kick when there are buffers again. @returns false when there are some by now */
  private starve(): boolean {
    this.starved = true;
    const before = this.rx.empty;
    this.rx.setNotification(true);
    if (before && !this.rx.empty) {
      this.starved = false;
      return false;
    }
    return true;
  }

  private roomAgain(): void {
    // New buffers are news only when some were missing.
    this.rx.setNotification(false);
    if (!this.starved) return;
    this.starved = false;
    this.backend?.resume();
  }

  private receive(frame: Uint8Array, header: NetHeader | undefined): boolean {
    if (!this.listening || !this.linkUp || frame.length < ETH_HEADER) return true;
    if (frame.length > MAX_FRAME_BYTES || !this.accepts(frame)) return true;
    const { rx, chains, lengths } = this;
    const total = this.headerBytes + frame.length;
    let room = 0;
    chains.length = lengths.length = 0;
    while (room < total) {
      const chain = rx.pop();
      if (!chain) {
        for (let i = chains.length - 1; i >= 0; i--) rx.unpop(chains[i]!);
        if (this.broken) return true;
        this.starve();
        return false;
      }
      chains.push(chain);
      room += chain.writable.total;
      if (chain.writable.total < this.headerBytes || (!this.mergeable && room < total)) {
        // The driver's buffer is too small for this frame: the frame is lost, the buffer is not.
        for (let i = chains.length - 1; i >= 0; i--) rx.unpop(chains[i]!);
        this.drop(`receive buffer of ${chain.writable.total} bytes for a frame of ${frame.length}`);
        return true;
      }
    }
    this.rxHeader.fill(0);
    if (header) putHeader(this.rxHeader, header);
    put16(this.rxHeader, NUM_BUFFERS, this.headerBytes === HEADER_BYTES ? chains.length : 0);
    let done = 0;
    for (const [i, chain] of chains.entries()) {
      let at = 0;
      if (i === 0) at = chain.writable.write(0, this.rxHeader.subarray(0, this.headerBytes));
      const n = Math.min(chain.writable.total - at, frame.length - done);
      chain.writable.write(at, frame.subarray(done, done + n));
      done += n;
      lengths[i] = at + n;
    }
    for (const [i, chain] of chains.entries()) rx.push(chain, lengths[i]!);
    this.interruptSoon(rx);
    return true;
  }

  private accepts(frame: Uint8Array): boolean {
    if (this.promisc) return true;
    if (((frame[12]! << 8) | frame[13]!) === VLAN_TAG_TYPE && frame.length >= ETH_HEADER + 4) {
      const vlan = ((frame[14]! << 8) | frame[15]!) & 0xfff;
      if (!(this.vlans[vlan >> 3]! & (1 << (vlan & 7)))) return false;
    }
    const to = macNumber(frame, 0);
    if (frame[0]! & 1) {
      if (to === BROADCAST) return !this.noBroadcast;
      if (this.noMulti) return false;
      return this.allMulti || this.multiOverflow || this.multiTable.has(to);
    }
    if (this.noUni) return false;
    return this.allUni || this.uniOverflow || to === macNumber(this.config, Config.mac) || this.uniTable.has(to);
  }

  // Control queue.

  private control(queue: VirtQueue): void {
    let done = 0;
    this.drain(queue, (chain) => {
      if (chain.readable.total < 2 || chain.writable.total < 1) {
        queue.release(chain);
        this.fail("control command without header or answer");
        return false;
      }
      const head = new Uint8Array(2);
      chain.readable.read(0, head);
      const ok = this.command(head[0]!, head[1]!, chain);
      chain.writable.write(0, Uint8Array.of(ok ? CTRL_OK : CTRL_ERROR));
      queue.push(chain, 1);
      done++;
      return true;
    });
    if (done > 0) this.interrupt(queue);
  }

  private command(cls: number, cmd: number, chain: Chain): boolean {
    const body = new Uint8Array(Math.min(MAC_BYTES, chain.readable.total - 2));
    chain.readable.read(2, body);
    switch (cls) {
      case Ctrl.rx:
        return body.length >= 1 && this.rxMode(cmd, body[0] !== 0);
      case Ctrl.mac:
        if (cmd === CtrlMac.table) return this.macTable(chain);
        if (cmd !== CtrlMac.address || chain.readable.total !== 2 + MAC_BYTES) return false;
        this.config.set(body, Config.mac);
        this.onFilterChange();
        return true;
      case Ctrl.vlan: {
        if (body.length < 2) return false;
        const vlan = body[0]! | (body[1]! << 8);
        if (vlan >= MAX_VLANS || (cmd !== CtrlVlan.add && cmd !== CtrlVlan.remove)) return false;
        const bit = 1 << (vlan & 7);
        this.vlans[vlan >> 3] = cmd === CtrlVlan.add ? this.vlans[vlan >> 3]! | bit : this.vlans[vlan >> 3]! & ~bit;
        this.onFilterChange();
        return true;
      }
      case Ctrl.guestOffloads: {
        if (cmd !== 0 || chain.readable.total !== 2 + 8 || !this.has(NetFeature.ctrlGuestOffloads)) return false;
        const wanted = new Uint8Array(8);
        chain.readable.read(2, wanted);
        const bits = new DataView(wanted.buffer).getBigUint64(0, true);
        if (bits & ~(GUEST_OFFLOADS & this.driverFeatures)) return false;
        this.setOffloads(bits);
        return true;
      }
      case Ctrl.announce:
        if (cmd !== 0 || !(this.config[Config.status]! & ANNOUNCE)) return false;
        this.config[Config.status] = this.config[Config.status]! & ~ANNOUNCE;
        return true;
    }
    return false;
  }

  private rxMode(cmd: number, on: boolean): boolean {
    switch (cmd) {
      case CtrlRx.promisc:
        this.promisc = on;
        break;
      case CtrlRx.allMulti:
        this.allMulti = on;
        break;
      case CtrlRx.allUni:
        this.allUni = on;
        break;
      case CtrlRx.noMulti:
        this.noMulti = on;
        break;
      case CtrlRx.noUni:
        this.noUni = on;
        break;
      case CtrlRx.noBroadcast:
        this.noBroadcast = on;
        break;
      default:
        return false;
    }
    this.onFilterChange();
    return true;
  }

  /** Two tables, each a count and so many addresses: unicast, then multicast. */
  private macTable(chain: Chain): boolean {
    const { readable } = chain;
    const count = new Uint8Array(4);
    const tables: { set: Set<number>; overflow: boolean }[] = [];
    let at = 2;
    for (let t = 0; t < 2; t++) {
      if (readable.read(at, count) < 4) return false;
      at += 4;
      const entries = (count[0]! | (count[1]! << 8) | (count[2]! << 16) | (count[3]! << 24)) >>> 0;
      if (at + entries * MAC_BYTES > readable.total) return false;
      const table = { set: new Set<number>(), overflow: entries > MAC_TABLE_ENTRIES };
      if (!table.overflow) {
        const addresses = new Uint8Array(entries * MAC_BYTES);
        readable.read(at, addresses);
        for (let i = 0; i < entries; i++) table.set.add(macNumber(addresses, i * MAC_BYTES));
      }
      tables.push(table);
      at += entries * MAC_BYTES;
    }
    this.uniTable = tables[0]!.set;
    this.uniOverflow = tables[0]!.overflow;
    this.multiTable = tables[1]!.set;
    this.multiOverflow = tables[1]!.overflow;
    this.onFilterChange();
    return true;
  }

  // Device events.

  protected override onFeatures(): void {
    const version1 = this.has(VirtioFeature.version1);
    this.mergeable = this.has(NetFeature.mrgRxbuf);
    this.headerBytes = version1 || this.mergeable ? HEADER_BYTES : SHORT_HEADER_BYTES;
    this.setOffloads(this.driverFeatures);
    // A driver that cannot set VLAN filters gets all of them.
    this.vlans.fill(this.has(NetFeature.ctrlVlan) ? 0 : 0xff);
  }

  private setOffloads(bits: bigint): void {
    const on = (bit: number) => ((bits >> BigInt(bit)) & 1n) === 1n;
    const csum = on(NetFeature.guestCsum);
    this.offloads = { csum, tso4: csum && on(NetFeature.guestTso4), tso6: csum && on(NetFeature.guestTso6) };
  }

  protected override onStatus(had: number): void {
    // Whatever waited for a driver may come now.
    if (this.status & ~had & 4) this.backend?.resume();
  }

  protected override onReset(): void {
    this.promisc = true;
    this.allMulti = this.allUni = this.noMulti = this.noUni = this.noBroadcast = false;
    this.uniTable = new Set();
    this.multiTable = new Set();
    this.uniOverflow = this.multiOverflow = false;
    this.starved = false;
    this.offloads = NO_OFFLOADS;
    this.config.set(this.permanentMac, Config.mac);
    this.config[Config.status] = this.config[Config.status]! & ~ANNOUNCE;
  }

  protected override onConfigWrite(offset: number, size: number, value: number): void {
    // Legacy drivers set the address here, byte by byte or in words.
    if (offset + size <= MAC_BYTES && !this.has(VirtioFeature.version1) && !this.has(NetFeature.ctrlMacAddr)) {
      for (let i = 0; i < size; i++) this.config[offset + i] = value >>> (8 * i);
      return;
    }
    super.onConfigWrite(offset, size, value);
  }

  protected override saveDevice(): DeviceState {
    return {
      promisc: this.promisc,
      allMulti: this.allMulti,
      allUni: this.allUni,
      noMulti: this.noMulti,
      noUni: this.noUni,
      noBroadcast: this.noBroadcast,
      uniTable: [...this.uniTable],
      multiTable: [...this.multiTable],
      uniOverflow: this.uniOverflow,
      multiOverflow: this.multiOverflow,
      vlans: this.vlans.slice(),
      starved: this.starved,
      offloads: { ...this.offloads },
    };
  }

  protected override restoreDevice(state: DeviceState): void {
    this.promisc = state.promisc as boolean;
    this.allMulti = state.allMulti as boolean;
    this.allUni = state.allUni as boolean;
    this.noMulti = state.noMulti as boolean;
    this.noUni = state.noUni as boolean;
    this.noBroadcast = state.noBroadcast as boolean;
    this.uniTable = new Set((state.uniTable as number[]).slice(0, MAC_TABLE_ENTRIES));
    this.multiTable = new Set((state.multiTable as number[]).slice(0, MAC_TABLE_ENTRIES));
    this.uniOverflow = state.uniOverflow as boolean;
    this.multiOverflow = state.multiOverflow as boolean;
    this.vlans.set((state.vlans as Uint8Array).subarray(0, this.vlans.length));
    this.starved = state.starved as boolean;
    // Older streams do not have it.
    if (state.offloads) this.offloads = { ...NO_OFFLOADS, ...(state.offloads as object) };
    // The cable is this host's, not the saved one's.
    const up = this.backend?.linkUp ?? false;
    this.config[Config.status] = (this.config[Config.status]! & ~LINK_UP) | (up ? LINK_UP : 0);
  }

  override dispose(): void {
    super.dispose();
    if (this.backend) detachNic(this.backend);
  }
}

const BROADCAST = 0xffffffffffff;
/** What a control command may switch. */
const GUEST_OFFLOADS = featureBits(NetFeature.guestCsum, NetFeature.guestTso4, NetFeature.guestTso6);

/** Six bytes as a number. */
function macNumber(bytes: Uint8Array, at: number): number {
  let n = 0;
  for (let i = 0; i < MAC_BYTES; i++) n = n * 256 + bytes[at + i]!;
  return n;
}

function parseHeader(b: Uint8Array): NetHeader {
  return {
    flags: b[0]!,
    gsoType: b[1]! & ~GsoType.ecn,
    ecn: (b[1]! & GsoType.ecn) !== 0,
    gsoSize: b[4]! | (b[5]! << 8),
    csumStart: b[6]! | (b[7]! << 8),
    csumOffset: b[8]! | (b[9]! << 8),
  };
}

function putHeader(b: Uint8Array, h: NetHeader): void {
  b[0] = h.flags;
  b[1] = h.gsoType;
  put16(b, 4, h.gsoSize);
  put16(b, 6, h.csumStart);
  put16(b, 8, h.csumOffset);
}

/** A network card in a PCI slot. */
export function createVirtioNetPci(ctx: DeviceContext, options: VirtioNetOptions & VirtioPciOptions): VirtioPci {
  return new VirtioPci(ctx, virtioNetType.name, new VirtioNet(ctx, options), { ...options, vectors: options.vectors ?? 4 });
}

const netProperties: readonly DeviceProperty[] = [
  { name: "netdev", type: "netdev", default: undefined, description: "id of the network" },
  { name: "mac", type: "macaddr", default: undefined, description: "Ethernet address; default the next of 52:54:00:12:34:56" },
  { name: "bootindex", type: "uint32", default: undefined, description: "place in the firmware's boot order" },
  { name: "host_mtu", type: "uint16", default: 0, description: "MTU that the guest is told; 0 = not told" },
  { name: "rx_queue_size", type: "uint16", default: 256, description: "entries of the receive queue" },
  { name: "tx_queue_size", type: "uint16", default: 256, description: "entries of the transmit queue" },
  { name: "csum", type: "bool", default: true, description: "checksums of sent packets" },
  { name: "host_tso4", type: "bool", default: true, description: "TCP segmentation over IPv4" },
  { name: "host_tso6", type: "bool", default: true, description: "TCP segmentation over IPv6" },
  { name: "host_ecn", type: "bool", default: true, description: "TCP segmentation of packets with ECN" },
  { name: "host_ufo", type: "bool", default: true, description: "UDP segmentation, if the network does it" },
  { name: "guest_csum", type: "bool", default: true, description: "received packets may lack checksums" },
  { name: "guest_tso4", type: "bool", default: true, description: "received TCP packets over IPv4 may be large" },
  { name: "guest_tso6", type: "bool", default: true, description: "received TCP packets over IPv6 may be large" },
  { name: "ctrl_guest_offloads", type: "bool", default: true, description: "the driver may switch the guest_ offloads" },
  { name: "mrg_rxbuf", type: "bool", default: true, description: "frames may take several receive buffers" },
  { name: "status", type: "bool", default: true, description: "link status" },
  { name: "ctrl_vq", type: "bool", default: true, description: "control queue: filters, address, announcement" },
];

export const virtioNetType: DeviceType = {
  name: "virtio-net-pci",
  aliases: ["virtio-net", "virtio-net-pci-transitional"],
  bus: "pci",
  category: "network",
  description: "virtio network card",
  properties: [...netProperties, ...virtioPciProperties(4)],
};

export const virtioNetMmioType: DeviceType = {
  name: "virtio-net-device",
  aliases: [],
  bus: "virtio",
  category: "network",
  description: "virtio network card on a virtio-mmio bus",
  properties: [...netProperties, ...virtioCommonProperties],
};

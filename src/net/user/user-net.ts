/**
 * User-mode networking: a network behind one cable with a gateway, a DHCP and a name server, whose TCP and UDP are the
 * host process's own sockets. Nothing on the host needs privileges.
 *
 * Addresses and behaviour as of QEMU's `-netdev user`: 10.0.2.2 is the host's loopback, 10.0.2.3 its name server.
 * Sources: RFC 791, RFC 792, RFC 8200, RFC 4443, RFC 1122.
 * Not emulated: ICMP echo beyond the gateway and the name server (the sockets for it need rights that a process may lack),
 * multicast, TFTP, SMB, DHCPv6, VLAN tags, IP options (they are skipped), extension headers of IPv6.
 */
import { VmError } from "../../base/errors.js";
import type { HostNetwork, NetAddress, TcpListener, UdpSocket } from "../../host/network.js";
import type { HostScheduler } from "../../host/scheduler.js";
import { formatIp, parseIpv4, parseIpv6, samePrefix } from "../address.js";
import { NetBackendBase } from "../backend.js";
import { get16, put16, sameBytes } from "../bytes.js";
import { addWords, foldChecksum, GsoType, NET_HDR_DATA_VALID, NET_HDR_NEEDS_CSUM, type NetHeader } from "../offload.js";
import type { HostForward, UserNetConfig } from "./config.js";
import { DHCP_SERVER_PORT, DhcpServer, dhcpDatagram } from "./dhcp.js";
import {
  buildPacket,
  ETH_HEADER,
  EtherType,
  type Flow,
  fragmentIpv4,
  IPV4_HEADER,
  IPV6_HEADER,
  MTU,
  Protocol,
} from "./frames.js";
import { BROADCAST_MAC, Icmp6, Neighbours } from "./neighbours.js";
import { Reassembly } from "./reassembly.js";
import type { Stack } from "./stack.js";
import { Tcp } from "./tcp.js";
import { TICK_MS } from "./tcp-connection.js";
import { DNS_PORT, UDP_CHECKSUM, UDP_HEADER, Udp } from "./udp.js";

/** Frames that wait for room at the card, besides TCP's data; later ones are dropped. */
const MAX_POSTED = 256;
const ICMP_ECHO = 8;
const ICMP_UNREACHABLE = 3;
const ICMP_HOST_UNREACHABLE = 1;
const ICMP6_UNREACHABLE = 1;
const ICMP6_ADDRESS_UNREACHABLE = 3;

interface OpenForward {
  readonly rule: HostForward;
  readonly socket: TcpListener | UdpSocket;
}

/** A rule as `info usernet` shows it. */
export interface UserNetRow {
  readonly protocol: string;
  readonly state: string;
  readonly source: string;
  readonly sourcePort: number;
  readonly destination: string;
  readonly destinationPort: number;
  readonly receiveBytes: number;
  readonly sendBytes: number;
}

export class UserNet extends NetBackendBase implements Stack {
  override readonly takesOffload = true;
  readonly gatewayMac: Uint8Array;
  private readonly neighbours: Neighbours;
  private readonly dhcp: DhcpServer;
  private readonly tcp: Tcp;
  private readonly udp: Udp;
  private readonly reassembly = new Reassembly();
  private readonly forwards: OpenForward[] = [];
  private readonly posted: Uint8Array[] = [];
  private pumping = false;
  private flushing = false;
  private closed = false;
  private cancelTick: (() => void) | undefined;
  /** Frames that were dropped: malformed, or because the card had no room for long. */
  dropped = 0;

  /** `random`: fills with bytes fit for sequence numbers. */
  constructor(
    id: string,
    readonly config: UserNetConfig,
    readonly network: HostNetwork | undefined,
    private readonly scheduler: HostScheduler,
    private readonly random: (out: Uint8Array) => void,
  ) {
    super(id);
    this.neighbours = new Neighbours(config);
    this.gatewayMac = this.neighbours.mac;
    this.dhcp = new DhcpServer(config);
    this.tcp = new Tcp(this);
    this.udp = new Udp(this);
    this.neighbours.onLearn = (address, mac) => this.tcp.neighbour(address, mac);
  }

  /** Opens the ports of `hostfwd`. @throws VmError "net/io" */
  async open(): Promise<void> {
    for (const rule of this.config.forwards) await this.addForward(rule);
  }

  /** `hostfwd_add`. @throws VmError "net/io" */
  async addForward(rule: HostForward): Promise<void> {
    const { network } = this;
    if (!network) throw new VmError("net/io", "this host has no network to forward ports from");
    const socket = rule.protocol === "tcp" ? await this.tcp.forward(network, rule) : await this.udp.forward(network, rule);
    if (this.closed) socket.close();
    else this.forwards.push({ rule, socket });
  }

  /** `hostfwd_remove`. @returns whether there was one */
  removeForward(rule: Pick<HostForward, "protocol" | "hostAddress" | "hostPort">): boolean {
    const i = this.forwards.findIndex(
      (f) => f.rule.protocol === rule.protocol && f.rule.hostAddress === rule.hostAddress && f.rule.hostPort === rule.hostPort,
    );
    if (i < 0) return false;
    this.forwards.splice(i, 1)[0]!.socket.close();
    return true;
  }

  /** Ports in use: for `hostfwd` with port 0. */
  forwardedPorts(): readonly NetAddress[] {
    return this.forwards.map((f) => f.socket.local);
  }

  override close(): void {
    this.closed = true;
    this.cancelTick?.();
    for (const f of this.forwards) f.socket.close();
    this.tcp.close();
    this.udp.close();
    this.posted.length = 0;
  }

  /** A stopped machine gets no frames, and no timer runs out on it. */
  override setRunning(on: boolean): void {
    super.setRunning(on);
    if (on) this.wantTicks();
  }

  // From the guest.

  override send(frame: Uint8Array, header?: NetHeader): void {
    if (!this.linkUp || this.closed || frame.length < ETH_HEADER) return;
    switch (get16(frame, 12)) {
      case EtherType.arp: {
        const answer = this.config.ipv4 ? this.neighbours.arp(frame) : undefined;
        if (answer) this.post(answer);
        break;
      }
      case EtherType.ipv4:
        if (this.config.ipv4) this.ipv4(frame, header);
        break;
      case EtherType.ipv6:
        if (this.config.ipv6) this.ipv6(frame, header);
        break;
    }
  }

  private ipv4(frame: Uint8Array, header: NetHeader | undefined): void {
    const ip = ETH_HEADER;
    const headerBytes = (frame[ip]! & 15) * 4;
    const total = frame.length >= ip + IPV4_HEADER ? get16(frame, ip + 2) : 0;
    if (frame[ip]! >> 4 !== 4 || headerBytes < IPV4_HEADER || total < headerBytes || ip + total > frame.length) {
      this.dropped++;
      return;
    }
    if (foldChecksum(addWords(0, frame, ip, ip + headerBytes)) !== 0) {
      this.dropped++;
      return;
    }
    const end = ip + total;
    if (get16(frame, ip + 6) & 0x3fff) {
      // A large UDP packet may come in fragments; the checksum is over the whole then.
      const whole = this.reassembly.add(frame, headerBytes, end);
      if (whole) this.ipv4Part(whole, headerBytes, whole.length, true);
      return;
    }
    this.ipv4Part(frame, headerBytes, end, mustVerify(header));
  }

  private ipv4Part(frame: Uint8Array, headerBytes: number, end: number, verify: boolean): void {
    const ip = ETH_HEADER;
    const flow: Flow = {
      version: 4,
      guest: frame.slice(ip + 12, ip + 16),
      other: frame.slice(ip + 16, ip + 20),
      guestMac: frame.slice(6, 12),
    };
    const part = frame.subarray(ip + headerBytes, end);
    const protocol = frame[ip + 9];
    if (protocol === Protocol.udp && part.length >= UDP_HEADER && get16(part, 2) === DHCP_SERVER_PORT) {
      if (flow.other[3] === 255 || sameBytes(flow.other, this.config.host)) {
        this.answerDhcp(flow, part);
        return;
      }
    }
    if (samePrefix(flow.guest, this.config.network, this.config.prefix)) this.neighbours.learn(flow.guest, flow.guestMac);
    switch (protocol) {
      case Protocol.tcp:
        this.tcp.input(flow, part, verify);
        break;
      case Protocol.udp:
        this.udp.input(flow, part, verify);
        break;
      case Protocol.icmp:
        this.echo(flow, part, ICMP_ECHO, 0);
        break;
    }
  }

  private answerDhcp(flow: Flow, part: Uint8Array): void {
    const reply = this.dhcp.answer(part.subarray(UDP_HEADER));
    if (!reply) return;
    const broadcast = reply.to.every((b) => b === 255);
    if (!broadcast) this.neighbours.learn(reply.to, flow.guestMac);
    this.postPacket(
      {
        version: 4,
        guest: reply.to,
        other: this.config.host,
        guestMac: broadcast ? BROADCAST_MAC : flow.guestMac,
      },
      Protocol.udp,
      dhcpDatagram(reply.bytes),
      UDP_CHECKSUM,
    );
  }

  private ipv6(frame: Uint8Array, header: NetHeader | undefined): void {
    const ip = ETH_HEADER;
    const length = frame.length >= ip + IPV6_HEADER ? get16(frame, ip + 4) : -1;
    if (length < 0 || frame[ip]! >> 4 !== 6 || ip + IPV6_HEADER + length > frame.length) {
      this.dropped++;
      return;
    }
    const flow: Flow = {
      version: 6,
      guest: frame.slice(ip + 8, ip + 24),
      other: frame.slice(ip + 24, ip + 40),
      guestMac: frame.slice(6, 12),
    };
    const part = frame.subarray(ip + IPV6_HEADER, ip + IPV6_HEADER + length);
    switch (frame[ip + 6]) {
      case Protocol.tcp:
        this.neighbours.learn(flow.guest, flow.guestMac);
        this.tcp.input(flow, part, mustVerify(header));
        break;
      case Protocol.udp:
        if (flow.other[0] === 0xff) break;
        this.neighbours.learn(flow.guest, flow.guestMac);
        this.udp.input(flow, part, mustVerify(header));
        break;
      case Protocol.icmp6: {
        if (part.length < 8) break;
        if (part[0] === Icmp6.echoRequest) {
          this.echo(flow, part, Icmp6.echoRequest, Icmp6.echoReply);
          break;
        }
        const answer = this.neighbours.discover(part, flow.guest, flow.guestMac);
        if (answer) this.post(answer);
        break;
      }
    }
  }

  /** Answers a ping of the network's own addresses. */
  private echo(flow: Flow, part: Uint8Array, request: number, reply: number): void {
    if (part.length < 8 || part[0] !== request || !this.own(flow.other)) return;
    const answer = part.slice();
    answer[0] = reply;
    this.postPacket(flow, flow.version === 4 ? Protocol.icmp : Protocol.icmp6, answer, 2);
  }

  private own(address: Uint8Array): boolean {
    if (address.length === 16) return this.neighbours.own6(address);
    return sameBytes(address, this.config.host) || sameBytes(address, this.config.dns);
  }

  // What the protocols ask.

  destination(address: Uint8Array, port: number): NetAddress | undefined {
    const { config } = this;
    if (config.restrict || !this.network) return undefined;
    const v4 = address.length === 4;
    if (sameBytes(address, v4 ? config.host : config.host6)) return { host: v4 ? "127.0.0.1" : "::1", port };
    if (sameBytes(address, v4 ? config.dns : config.dns6)) {
      // Only the name service is there. Port 0 asks for the family.
      const server = port === DNS_PORT || port === 0 ? this.network.nameServers()[0] : undefined;
      return server && { host: server.host, port: server.port };
    }
    // Nobody else is on this network, and groups and broadcasts end here.
    const inside = v4 ? samePrefix(address, config.network, config.prefix) : samePrefix(address, config.network6, config.prefix6);
    const group = v4
      ? address[0]! >= 224 || address[0] === 0
      : address[0] === 0xff || (address[0] === 0xfe && address[1]! >= 0x80);
    return inside || group ? undefined : { host: formatIp(address), port };
  }

  guestView(host: string): Uint8Array {
    const { config } = this;
    const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(host)?.[1] ?? host;
    const v4 = parseIpv4(mapped);
    if (v4) return v4[0] === 127 ? config.host : v4;
    const v6 = parseIpv6(host.replace(/%.*$/, ""));
    if (!v6) return config.host;
    return host === "::1" ? config.host6 : v6;
  }

  forwardFlow(rule: HostForward, peer: string): Flow {
    const guest = rule.guestAddress ?? this.config.dhcpStart;
    let other = this.guestView(peer);
    if (other.length !== guest.length) other = guest.length === 4 ? this.config.host : this.config.host6;
    const guestMac = this.neighbours.find(guest);
    // Until the guest has said where it is, everybody is asked, and sees what is for it.
    if (!guestMac) this.post(guest.length === 4 ? this.neighbours.arpRequest(guest) : this.neighbours.solicit(guest));
    return { version: guest.length === 4 ? 4 : 6, guest, other, guestMac: guestMac ?? BROADCAST_MAC };
  }

  hostUnreachable(flow: Flow, guestPort: number, otherPort: number): void {
    // The header of what could not be delivered, and its first 8 bytes: the ports and a sequence number.
    const v4 = flow.version === 4;
    const inner = new Uint8Array((v4 ? IPV4_HEADER : IPV6_HEADER) + 8);
    const turned = buildPacket(
      { version: flow.version, guest: flow.other, other: flow.guest, guestMac: flow.guestMac },
      this.gatewayMac,
      Protocol.tcp,
      new Uint8Array(20),
      16,
    );
    inner.set(turned.subarray(ETH_HEADER, ETH_HEADER + inner.length));
    put16(inner, inner.length - 8, guestPort);
    put16(inner, inner.length - 6, otherPort);
    const part = new Uint8Array(8 + inner.length);
    part[0] = v4 ? ICMP_UNREACHABLE : ICMP6_UNREACHABLE;
    part[1] = v4 ? ICMP_HOST_UNREACHABLE : ICMP6_ADDRESS_UNREACHABLE;
    part.set(inner, 8);
    const router = v4 ? this.config.host : this.config.host6;
    this.postPacket({ ...flow, other: router }, v4 ? Protocol.icmp : Protocol.icmp6, part, 2);
  }

  random32(): number {
    const bytes = new Uint8Array(4);
    this.random(bytes);
    return ((bytes[0]! << 24) | (bytes[1]! << 16) | (bytes[2]! << 8) | bytes[3]!) >>> 0;
  }

  // To the guest.

  hasRoom(): boolean {
    return this.running && (!this.linkUp || this.canReceive());
  }

  deliver(frame: Uint8Array, header?: NetHeader): boolean {
    if (!this.running) return false;
    // What goes to a pulled cable is lost.
    return !this.linkUp || this.onReceive(frame, header);
  }

  post(frame: Uint8Array): void {
    if (this.posted.length >= MAX_POSTED) {
      this.dropped++;
      return;
    }
    this.posted.push(frame);
    this.pump();
  }

  postPacket(flow: Flow, protocol: number, part: Uint8Array, checksumAt: number): void {
    const frame = buildPacket(flow, this.gatewayMac, protocol, part, checksumAt);
    if (frame.length - ETH_HEADER <= MTU) this.post(frame);
    else if (flow.version === 4) for (const f of fragmentIpv4(frame)) this.post(f);
    else this.dropped++;
  }

  override resume(): void {
    this.pump();
    if (this.posted.length === 0) this.tcp.roomAgain();
  }

  private pump(): void {
    // A card that answers from within its receiver ends up here again: the outer loop goes on.
    if (this.pumping) return;
    this.pumping = true;
    try {
      for (let budget = MAX_POSTED; budget > 0 && this.posted.length > 0 && this.hasRoom(); budget--) {
        if (!this.deliver(this.posted[0]!)) break;
        this.posted.shift();
      }
    } finally {
      this.pumping = false;
    }
  }

  // Time.

  flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    void Promise.resolve().then(() => {
      this.flushing = false;
      if (!this.closed) this.tcp.flushAcks();
    });
  }

  wantTicks(): void {
    if (this.cancelTick || this.closed || !this.running) return;
    this.cancelTick = this.scheduler.after(TICK_MS, () => {
      this.cancelTick = undefined;
      if (this.closed || !this.running) return;
      const tcp = this.tcp.tick();
      const udp = this.udp.tick();
      if (tcp || udp) this.wantTicks();
    });
  }

  /** What `info usernet` lists. */
  rows(): UserNetRow[] {
    const rows: UserNetRow[] = [];
    for (const { rule, socket } of this.forwards)
      rows.push({
        protocol: rule.protocol.toUpperCase(),
        state: "HOST_FORWARD",
        source: rule.hostAddress === "" ? "*" : rule.hostAddress,
        sourcePort: socket.local.port,
        destination: formatIp(rule.guestAddress ?? this.config.dhcpStart),
        destinationPort: rule.guestPort,
        receiveBytes: 0,
        sendBytes: 0,
      });
    for (const c of this.tcp.list()) {
      const d = c.describe();
      rows.push({
        protocol: "TCP",
        state: d.state,
        source: formatIp(c.flow.guest),
        sourcePort: c.guestPort,
        destination: formatIp(c.flow.other),
        destinationPort: c.hostPort,
        receiveBytes: d.receiveBytes,
        sendBytes: d.sendBytes,
      });
    }
    for (const a of this.udp.list())
      rows.push({
        protocol: "UDP",
        state: "",
        source: formatIp(a.guest),
        sourcePort: a.guestPort,
        destination: "*",
        destinationPort: a.local?.port ?? 0,
        receiveBytes: 0,
        sendBytes: 0,
      });
    return rows;
  }
}

/** Whether a checksum has to be looked at: the driver may have left it to us, or know that it is right. */
function mustVerify(header: NetHeader | undefined): boolean {
  return !header || (!(header.flags & (NET_HDR_NEEDS_CSUM | NET_HDR_DATA_VALID)) && header.gsoType === GsoType.none);
}

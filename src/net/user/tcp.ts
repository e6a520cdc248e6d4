/** The TCP connections of a user-mode network: who is connected to whom, new ones in both directions, timers. */
import type { HostNetwork, NetAddress, TcpListener, TcpStream } from "../../host/network.js";
import { formatIp } from "../address.js";
import { MAX_FRAME_BYTES } from "../backend.js";
import { put16 } from "../bytes.js";
import { addWords, foldChecksum, GsoType, NET_HDR_NEEDS_CSUM, type NetHeader } from "../offload.js";
import type { ByteQueue } from "./byte-queue.js";
import type { HostForward } from "./config.js";
import { type Flow, IPV4_HEADER, IPV6_HEADER, MTU, Protocol, payloadOffset, pseudoSum, putHeaders } from "./frames.js";
import type { Stack } from "./stack.js";
import { BUFFER_BYTES, TcpConnection, type TcpOutlet } from "./tcp-connection.js";
import {
  parseTcp,
  putTcpHeader,
  TCP_CHECKSUM,
  TCP_HEADER,
  TcpFlag,
  type TcpHeaderFields,
  type TcpSegment,
} from "./tcp-segment.js";

/** Connections at a time; further ones are refused by a RST. */
export const MAX_CONNECTIONS = 4096;
/** What all connections together may hold before each gets less. */
const SHARED_BYTES = 64 * 2 ** 20;
const POOR_BUFFER_BYTES = 32 * 1024;
const LARGE_PACKET = 65535;

export class Tcp implements TcpOutlet {
  private readonly connections = new Map<string, TcpConnection>();
  private readonly waiting = new Set<TcpConnection>();
  private readonly acks = new Set<TcpConnection>();
  private readonly frame = new Uint8Array(MAX_FRAME_BYTES);
  private held = 0;

  constructor(private readonly stack: Stack) {}

  get size(): number {
    return this.connections.size;
  }

  // From the guest.

  /** A TCP part of a packet of the guest. `verify`: its checksum is to be looked at. */
  input(flow: Flow, part: Uint8Array, verify: boolean): void {
    const s = parseTcp(part);
    if (!s) return;
    if (verify) {
      const pseudo = pseudoSum(flow.guest, flow.other, Protocol.tcp, part.length);
      if (foldChecksum(addWords(pseudo, part, 0, part.length)) !== 0) return;
    }
    const key = keyOf(flow, s.sourcePort, s.destinationPort);
    let c = this.connections.get(key);
    if (c && (s.flags & (TcpFlag.syn | TcpFlag.ack)) === TcpFlag.syn && c.state === "time-wait") {
      this.gone(c);
      c = undefined;
    }
    if (c) {
      c.input(s);
      return;
    }
    if ((s.flags & (TcpFlag.syn | TcpFlag.ack | TcpFlag.rst)) !== TcpFlag.syn) {
      if (!(s.flags & TcpFlag.rst)) this.refuse(flow, s);
      return;
    }
    const to = this.stack.destination(flow.other, s.destinationPort);
    const { network } = this.stack;
    if (!to || !network || this.connections.size >= MAX_CONNECTIONS) {
      this.refuse(flow, s);
      return;
    }
    const fresh = TcpConnection.fromGuest(this, flow, s, (events) => network.connectTcp(to, events));
    this.connections.set(key, fresh);
    this.stack.wantTicks();
  }

  /** A RST for a segment that belongs to nothing (RFC 9293 3.10.7.1). */
  private refuse(flow: Flow, s: TcpSegment): void {
    const ack = (s.flags & TcpFlag.ack) !== 0;
    const length = s.data.length + (s.flags & TcpFlag.syn ? 1 : 0) + (s.flags & TcpFlag.fin ? 1 : 0);
    const part = new Uint8Array(TCP_HEADER);
    putTcpHeader(part, 0, {
      sourcePort: s.destinationPort,
      destinationPort: s.sourcePort,
      seq: ack ? s.ack : 0,
      ack: ack ? 0 : (s.seq + length) >>> 0,
      flags: ack ? TcpFlag.rst : TcpFlag.rst | TcpFlag.ack,
      window: 0,
    });
    this.stack.postPacket(flow, Protocol.tcp, part, TCP_CHECKSUM);
  }

  // From the host.

  /** Listens for `hostfwd`. @throws VmError "net/io" */
  forward(network: HostNetwork, rule: HostForward): Promise<TcpListener> {
    const at: NetAddress = { host: rule.hostAddress === "" ? "0.0.0.0" : rule.hostAddress, port: rule.hostPort };
    return network.listenTcp(at, (stream) => this.accept(rule, stream));
  }

  private accept(rule: HostForward, stream: TcpStream): void {
    const flow = this.stack.forwardFlow(rule, stream.remote.host);
    const key = keyOf(flow, rule.guestPort, stream.remote.port);
    const old = this.connections.get(key);
    if (old?.state === "time-wait") this.gone(old);
    if (this.connections.has(key) || this.connections.size >= MAX_CONNECTIONS) {
      stream.destroy();
      return;
    }
    const c = TcpConnection.fromHost(this, flow, rule.guestPort, stream.remote.port, stream);
    this.connections.set(key, c);
    this.stack.wantTicks();
  }

  /** The guest's Ethernet address has become known. */
  neighbour(address: Uint8Array, mac: Uint8Array): void {
    for (const c of this.connections.values())
      if (c.state === "syn-sent" && formatIp(c.flow.guest) === formatIp(address)) c.flow.guestMac = mac;
  }

  // What connections ask.

  sendSegment(flow: Flow, h: TcpHeaderFields, queue: ByteQueue, offset: number, bytes: number, mss: number): boolean {
    const { stack, frame } = this;
    if (!stack.hasRoom()) return false;
    const at = payloadOffset(flow);
    const data = putTcpHeader(frame, at, h);
    if (bytes > 0) queue.copyTo(offset, frame.subarray(data, data + bytes));
    const length = data - at + bytes;
    putHeaders(frame, flow, stack.gatewayMac, Protocol.tcp, length);
    const whole = frame.subarray(0, data + bytes);
    const pseudo = pseudoSum(flow.other, flow.guest, Protocol.tcp, length);
    if (!stack.cardOffloads().csum) {
      put16(frame, at + TCP_CHECKSUM, foldChecksum(addWords(pseudo, frame, at, data + bytes)));
      return stack.deliver(whole);
    }
    put16(frame, at + TCP_CHECKSUM, ~foldChecksum(pseudo) & 0xffff);
    const large = bytes > mss;
    const header: NetHeader = {
      flags: NET_HDR_NEEDS_CSUM,
      gsoType: large ? (flow.version === 4 ? GsoType.tcpv4 : GsoType.tcpv6) : GsoType.none,
      gsoSize: large ? mss : 0,
      csumStart: at,
      csumOffset: TCP_CHECKSUM,
    };
    return stack.deliver(whole, header);
  }

  waitForRoom(c: TcpConnection): void {
    this.waiting.add(c);
  }

  ackSoon(c: TcpConnection): void {
    this.acks.add(c);
    this.stack.flushSoon();
  }

  unreachable(c: TcpConnection): void {
    this.stack.hostUnreachable(c.flow, c.guestPort, c.hostPort);
  }

  gone(c: TcpConnection): void {
    this.waiting.delete(c);
    this.acks.delete(c);
    const key = keyOf(c.flow, c.guestPort, c.hostPort);
    if (this.connections.get(key) === c) this.connections.delete(key);
  }

  largeSendBytes(version: 4 | 6): number {
    const o = this.stack.cardOffloads();
    const header = TCP_HEADER + (version === 4 ? IPV4_HEADER : IPV6_HEADER);
    return o.csum && (version === 4 ? o.tso4 : o.tso6) ? LARGE_PACKET - header : 0;
  }

  localMss(version: 4 | 6): number {
    return MTU - TCP_HEADER - (version === 4 ? IPV4_HEADER : IPV6_HEADER);
  }

  bufferBytes(): number {
    return this.held > SHARED_BYTES ? POOR_BUFFER_BYTES : BUFFER_BYTES;
  }

  randomSeq(): number {
    return this.stack.random32();
  }

  // What the stack calls.

  /** The card has room. */
  roomAgain(): void {
    for (const c of [...this.waiting]) {
      if (!this.stack.hasRoom()) return;
      this.waiting.delete(c);
      c.output();
    }
  }

  flushAcks(): void {
    const due = [...this.acks];
    this.acks.clear();
    for (const c of due) c.flushAck();
  }

  /** @returns whether anything still needs time */
  tick(): boolean {
    let held = 0;
    let more = false;
    for (const c of [...this.connections.values()]) {
      c.tick();
      held += c.held;
      more ||= c.needsTicks;
    }
    this.held = held;
    return more || this.connections.size > 0;
  }

  list(): TcpConnection[] {
    return [...this.connections.values()];
  }

  close(): void {
    for (const c of this.connections.values()) c.abandon();
    this.connections.clear();
  }
}

function keyOf(flow: Flow, guestPort: number, otherPort: number): string {
  return `${flow.guest.join(".")}:${guestPort}-${flow.other.join(".")}:${otherPort}`;
}

/** For tests: a guest's end of a user-mode network, that speaks frames, and a host network without a host. */
import type { HostNetwork, NetAddress, TcpListener, TcpStream, TcpStreamEvents, UdpSocket } from "../../host/network.js";
import type { HostScheduler } from "../../host/scheduler.js";
import { NO_OFFLOADS } from "../backend.js";
import { get16, put16 } from "../bytes.js";
import { addWords, foldChecksum, type NetHeader } from "../offload.js";
import { DEFAULT_USER_NET, type UserNetConfig } from "./config.js";
import { buildPacket, ETH_HEADER, type Flow, Protocol, pseudoSum } from "./frames.js";
import {
  parseTcp,
  putTcpHeader,
  TCP_CHECKSUM,
  TcpFlag,
  type TcpHeaderFields,
  type TcpSegment,
  tcpHeaderBytes,
} from "./tcp-segment.js";
import { UserNet } from "./user-net.js";

export const GUEST_MAC = Uint8Array.of(0x52, 0x54, 0, 0x12, 0x34, 0x56);
export const GUEST = Uint8Array.of(10, 0, 2, 15);
export const HOST = DEFAULT_USER_NET.host;

/** A stream whose other end is the test. */
export class FakeStream implements TcpStream {
  readonly written: number[] = [];
  queuedBytes = 0;
  ended = false;
  destroyed = false;
  reading = true;
  constructor(
    readonly remote: NetAddress,
    public events: TcpStreamEvents,
  ) {}
  write(bytes: Uint8Array): void {
    for (const b of bytes) this.written.push(b);
  }
  end(): void {
    this.ended = true;
  }
  setReading(on: boolean): void {
    this.reading = on;
  }
  destroy(): void {
    this.destroyed = true;
  }
}

export class FakeUdp implements UdpSocket {
  onDatagram: (bytes: Uint8Array, from: NetAddress) => void = () => {};
  readonly sent: { readonly bytes: number[]; readonly to: NetAddress }[] = [];
  closed = false;
  constructor(readonly local: NetAddress) {}
  send(bytes: Uint8Array, to: NetAddress): void {
    this.sent.push({ bytes: [...bytes], to });
  }
  close(): void {
    this.closed = true;
  }
}

export class FakeNetwork implements HostNetwork {
  readonly streams: FakeStream[] = [];
  readonly sockets: FakeUdp[] = [];
  readonly listeners: { readonly at: NetAddress; readonly onConnection: (s: TcpStream) => void; closed: boolean }[] = [];
  connectTcp(to: NetAddress, events: TcpStreamEvents): TcpStream {
    const s = new FakeStream(to, events);
    this.streams.push(s);
    return s;
  }
  async listenTcp(at: NetAddress, onConnection: (s: TcpStream) => void): Promise<TcpListener> {
    const l = { at, onConnection, closed: false };
    this.listeners.push(l);
    return {
      local: at,
      close: () => {
        l.closed = true;
      },
    };
  }
  async openUdp(at: NetAddress): Promise<UdpSocket> {
    const s = new FakeUdp(at);
    this.sockets.push(s);
    return s;
  }
  nameServers(): readonly NetAddress[] {
    return [{ host: "192.0.2.53", port: 5353 }];
  }
}

/** Time that tests move. */
export class FakeScheduler implements HostScheduler {
  private tasks: { at: number; task: () => void }[] = [];
  private now = 0;
  soon(task: () => void): void {
    this.after(0, task);
  }
  after(delayMs: number, task: () => void): () => void {
    const t = { at: this.now + delayMs, task };
    this.tasks.push(t);
    return () => {
      this.tasks = this.tasks.filter((x) => x !== t);
    };
  }
  get pending(): number {
    return this.tasks.length;
  }
  advance(ms: number): void {
    const end = this.now + ms;
    for (;;) {
      const next = this.tasks.filter((t) => t.at <= end).sort((a, b) => a.at - b.at)[0];
      if (!next) break;
      this.tasks = this.tasks.filter((t) => t !== next);
      this.now = next.at;
      next.task();
    }
    this.now = end;
  }
}

export class TestGuest {
  readonly network = new FakeNetwork();
  readonly scheduler = new FakeScheduler();
  readonly net: UserNet;
  readonly received: { readonly frame: Uint8Array; readonly header: NetHeader | undefined }[] = [];
  /** The card has room. */
  room = true;
  offloads = NO_OFFLOADS;

  constructor(config: Partial<UserNetConfig> = {}, withNetwork = true, real?: HostNetwork) {
    this.net = new UserNet(
      "n",
      { ...DEFAULT_USER_NET, ...config },
      withNetwork ? (real ?? this.network) : undefined,
      this.scheduler,
      (out) => out.fill(7),
    );
    this.net.canReceive = () => this.room;
    this.net.cardOffloads = () => this.offloads;
    this.net.onReceive = (frame, header) => {
      if (!this.room) return false;
      this.received.push({ frame: frame.slice(), header });
      return true;
    };
  }

  /** Frames since the last call. */
  take(): Uint8Array[] {
    return this.received.splice(0).map((r) => r.frame);
  }

  /** Sends a layer-4 part. */
  send(protocol: number, to: Uint8Array, part: Uint8Array, checksumAt: number, from: Uint8Array = GUEST): void {
    const flow: Flow = { version: to.length === 4 ? 4 : 6, guest: to, other: from, guestMac: this.net.gatewayMac };
    this.net.send(buildPacket(flow, GUEST_MAC, protocol, part, checksumAt));
  }

  sendUdp(to: Uint8Array, sourcePort: number, port: number, data: Uint8Array, from: Uint8Array = GUEST): void {
    const part = new Uint8Array(8 + data.length);
    put16(part, 0, sourcePort);
    put16(part, 2, port);
    put16(part, 4, part.length);
    part.set(data, 8);
    this.send(Protocol.udp, to, part, 6, from);
  }

  sendTcp(to: Uint8Array, h: TcpHeaderFields, data: Uint8Array = new Uint8Array(0), from: Uint8Array = GUEST): void {
    const part = new Uint8Array(tcpHeaderBytes(h) + data.length);
    part.set(data, putTcpHeader(part, 0, h));
    this.send(Protocol.tcp, to, part, TCP_CHECKSUM, from);
  }

  /** TCP segments since the last call, their checksums verified unless the frame left them to the card. */
  segments(): TcpSegment[] {
    const out: TcpSegment[] = [];
    for (const { frame, header } of this.received.splice(0)) {
      const v4 = get16(frame, 12) === 0x0800;
      if (!v4 || frame[ETH_HEADER + 9] !== Protocol.tcp) continue;
      const at = ETH_HEADER + 20;
      const part = frame.subarray(at);
      const sum = pseudoSum(frame.subarray(26, 30), frame.subarray(30, 34), Protocol.tcp, part.length);
      if (!header && foldChecksum(addWords(sum, part, 0, part.length)) !== 0) throw new Error("wrong checksum");
      out.push(parseTcp(part)!);
    }
    return out;
  }
}

/** The guest's half of one TCP connection. */
export class GuestTcp {
  seq: number;
  ack = 0;
  window = 65535;
  constructor(
    readonly guest: TestGuest,
    readonly port: number,
    readonly to = HOST,
    readonly toPort = 80,
    isn = 1000,
  ) {
    this.seq = isn;
  }

  send(
    flags: number,
    data: Uint8Array = new Uint8Array(0),
    options: { mss?: number; windowScale?: number; seq?: number } = {},
  ): void {
    this.guest.sendTcp(
      this.to,
      {
        sourcePort: this.port,
        destinationPort: this.toPort,
        seq: options.seq ?? this.seq,
        ack: flags & TcpFlag.ack ? this.ack : 0,
        flags,
        window: this.window,
        mss: options.mss,
        windowScale: options.windowScale,
      },
      data,
    );
    if (options.seq === undefined)
      this.seq = (this.seq + data.length + (flags & TcpFlag.syn ? 1 : 0) + (flags & TcpFlag.fin ? 1 : 0)) >>> 0;
  }

  /** Connects; @returns the host's end */
  open(options: { mss?: number; windowScale?: number } = { mss: 1460 }): FakeStream {
    this.send(TcpFlag.syn, undefined, options);
    const stream = this.guest.network.streams.at(-1)!;
    stream.events.connected!();
    const [answer] = this.guest.segments();
    if (answer?.flags !== (TcpFlag.syn | TcpFlag.ack) || answer.ack !== this.seq) throw new Error("no SYN-ACK");
    this.ack = (answer.seq + 1) >>> 0;
    this.send(TcpFlag.ack);
    this.guest.segments();
    return stream;
  }
}

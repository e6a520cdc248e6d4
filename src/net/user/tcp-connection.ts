/**
 * One TCP connection of the guest, ended here, with a stream of the host as its other half: what the guest sends is written
 * to the stream as far as the host takes it (the window says so), what the stream brings is sent as far as the guest's
 * window allows.
 *
 * Sources: RFC 9293 3.4 to 3.10, RFC 7323 2 (window scale), RFC 6298 (timer), RFC 6582 (retransmission of what got lost).
 * Not emulated: congestion control (the way to the guest is one cable), selective acknowledgement, time stamps, urgent data
 * (it is data), keep-alive probes; segments out of order are asked for again.
 */
import type { TcpStream, TcpStreamEvents } from "../../host/network.js";
import { ByteQueue } from "./byte-queue.js";
import { type Flow, IPV4_HEADER, IPV6_HEADER } from "./frames.js";
import { seqDiff, TCP_HEADER, TcpFlag, type TcpHeaderFields, type TcpSegment } from "./tcp-segment.js";

/** Bytes of a direction that wait, at most; half that when connections together hold much. */
export const BUFFER_BYTES = 512 * 1024;
const WINDOW_SCALE = 5;
const DEFAULT_MSS = 536;
const MIN_MSS = 64;
const MAX_PACKET = 65535;
/** Retransmission timer in ticks; doubled at each loss. */
export const TICK_MS = 100;
const FIRST_RTO_TICKS = 10;
const MAX_RTO_TICKS = 600;
const MAX_RETRIES = 10;
const CONNECT_TICKS = 750;
const TIME_WAIT_TICKS = 20;
/** A guest that neither answers nor goes on after both sides have ended. */
const FIN_WAIT_TICKS = 600;
const DUPLICATE_ACKS = 3;

/** What a connection asks of the network around it. */
export interface TcpOutlet {
  /**
   * Sends a segment with `bytes` of the queue from `offset` on.
   * @returns false when the card has no room; the connection is asked again later
   */
  sendSegment(flow: Flow, header: TcpHeaderFields, queue: ByteQueue, offset: number, bytes: number, mss: number): boolean;
  /** The connection waits for room at the card. */
  waitForRoom(connection: TcpConnection): void;
  /** A segment of the guest is to be acknowledged soon. */
  ackSoon(connection: TcpConnection): void;
  /** The host could not be reached. */
  unreachable(connection: TcpConnection): void;
  gone(connection: TcpConnection): void;
  /** Largest TCP payload of one packet that the card takes from us; 0 = only single segments. */
  largeSendBytes(version: 4 | 6): number;
  /** MSS that the guest is told. */
  localMss(version: 4 | 6): number;
  /** Bytes that a connection may hold in a direction now. */
  bufferBytes(): number;
  randomSeq(): number;
}

type State = "connecting" | "syn-sent" | "syn-received" | "open" | "time-wait" | "closed";

export class TcpConnection implements TcpStreamEvents {
  state: State;
  private stream: TcpStream | undefined;
  private readonly queue = new ByteQueue();
  /** Sequence number of the queue's first byte. */
  private queueSeq: number;
  private sndUna: number;
  private sndNxt: number;
  /** Highest sequence number ever sent. */
  private sndMax: number;
  private sndWnd = 0;
  private sndScale = 0;
  private rcvNxt = 0;
  /** Right edge of the window that the guest has been told. */
  private rcvEdge = 0;
  private rcvScale = 0;
  private mss = DEFAULT_MSS;
  private ackNow = false;
  private unacked = 0;
  /** The stream has ended: a FIN follows the queue. */
  private finWanted = false;
  private finAcked = false;
  private finReceived = false;
  private reading = true;
  private duplicates = 0;
  private recover: number | undefined;
  private ticks = 0;
  private rtoTicks = FIRST_RTO_TICKS;
  private retries = 0;
  private lastAckWindow = -1;

  /** `hostPort`: the other end's port as the guest knows it. */
  private constructor(
    private readonly outlet: TcpOutlet,
    readonly flow: Flow,
    readonly guestPort: number,
    readonly hostPort: number,
    state: State,
  ) {
    this.state = state;
    this.sndUna = this.sndNxt = this.sndMax = outlet.randomSeq();
    this.queueSeq = (this.sndUna + 1) >>> 0;
  }

  /** The guest connects: `syn` is its first segment. `connect` opens the host's half. */
  static fromGuest(
    outlet: TcpOutlet,
    flow: Flow,
    syn: TcpSegment,
    connect: (events: TcpStreamEvents) => TcpStream,
  ): TcpConnection {
    const c = new TcpConnection(outlet, flow, syn.sourcePort, syn.destinationPort, "connecting");
    c.rcvNxt = (syn.seq + 1) >>> 0;
    c.rcvEdge = c.rcvNxt;
    c.learn(syn);
    c.sndWnd = syn.window;
    c.stream = connect(c);
    return c;
  }

  /** Somebody has connected to a forwarded port. */
  static fromHost(outlet: TcpOutlet, flow: Flow, guestPort: number, hostPort: number, stream: TcpStream): TcpConnection {
    const c = new TcpConnection(outlet, flow, guestPort, hostPort, "syn-sent");
    c.rcvScale = WINDOW_SCALE;
    c.stream = stream;
    stream.events = c;
    c.output();
    return c;
  }

  private learn(syn: TcpSegment): void {
    this.mss = Math.max(MIN_MSS, syn.mss ?? DEFAULT_MSS);
    const scaled = syn.windowScale !== undefined;
    this.sndScale = syn.windowScale ?? 0;
    this.rcvScale = scaled ? WINDOW_SCALE : 0;
  }

  /** Bytes held. */
  get held(): number {
    return this.queue.length + (this.stream?.queuedBytes ?? 0);
  }

  get needsTicks(): boolean {
    return this.state !== "open" || this.sndUna !== this.sndMax || this.queue.length > 0 || this.finWanted || this.finReceived;
  }

  // From the host.

  connected(): void {
    if (this.state !== "connecting") return;
    this.state = "syn-received";
    this.ticks = 0;
    this.output();
  }

  data(bytes: Uint8Array): void {
    if (this.state === "closed") return;
    this.queue.push(bytes);
    if (this.reading && this.queue.length >= this.outlet.bufferBytes()) {
      this.reading = false;
      this.stream?.setReading(false);
    }
    this.output();
  }

  ended(): void {
    this.finWanted = true;
    this.output();
  }

  drained(): void {
    if (this.state !== "open" || this.finReceived) return;
    // Worth a segment of its own only when the guest may be waiting for it (RFC 9293 3.8.6.2.2).
    const told = seqDiff(this.rcvEdge, this.rcvNxt);
    const gain = this.freeWindow() - told;
    if (gain >= 2 * this.mss && told < BUFFER_BYTES / 2) {
      this.ackNow = true;
      this.output();
    }
  }

  closed(reason?: "refused" | "unreachable" | "timeout" | "reset" | "failed"): void {
    this.stream = undefined;
    if (this.state === "closed") return;
    if (this.state === "connecting" && (reason === "unreachable" || reason === "timeout")) {
      this.outlet.unreachable(this);
      this.finish();
    } else if (this.state === "connecting" || reason !== undefined) this.reset();
    else if (!this.finWanted) this.ended();
  }

  /** Ends it at once, with a RST to the guest. */
  reset(): void {
    if (this.state === "closed") return;
    this.outlet.sendSegment(this.flow, this.header(this.sndNxt, TcpFlag.rst | TcpFlag.ack), this.queue, 0, 0, 0);
    this.finish();
  }

  private finish(): void {
    if (this.state === "closed") return;
    this.state = "closed";
    this.queue.clear();
    const { stream } = this;
    this.stream = undefined;
    stream?.destroy();
    this.outlet.gone(this);
  }

  // From the guest.

  input(s: TcpSegment): void {
    switch (this.state) {
      case "closed":
        return;
      case "connecting":
        if (s.flags & TcpFlag.rst) this.finish();
        return;
      case "syn-sent":
        this.inputSynSent(s);
        return;
      case "syn-received":
        if (s.flags & TcpFlag.syn && !(s.flags & TcpFlag.ack)) {
          // Our answer was lost.
          this.sndNxt = this.sndUna;
          this.output();
          return;
        }
        if (!(s.flags & TcpFlag.rst) && s.flags & TcpFlag.ack) {
          if (s.ack !== this.sndMax) {
            this.reset();
            return;
          }
          this.established();
          this.sndWnd = s.window << this.sndScale;
        }
        break;
    }
    this.inputOpen(s);
  }

  private established(): void {
    this.state = "open";
    this.sndUna = this.sndMax;
    this.sndNxt = this.sndMax;
    this.ticks = this.retries = 0;
    this.rtoTicks = FIRST_RTO_TICKS;
  }

  private inputSynSent(s: TcpSegment): void {
    if (s.flags & TcpFlag.ack && s.ack !== this.sndMax) return;
    if (s.flags & TcpFlag.rst) {
      if (s.flags & TcpFlag.ack) this.finish();
      return;
    }
    if ((s.flags & (TcpFlag.syn | TcpFlag.ack)) !== (TcpFlag.syn | TcpFlag.ack)) return;
    this.rcvNxt = (s.seq + 1) >>> 0;
    this.rcvEdge = this.rcvNxt;
    this.learn(s);
    this.established();
    this.sndWnd = s.window;
    this.ackNow = true;
    this.output();
  }

  private inputOpen(s: TcpSegment): void {
    const { flags } = s;
    let offset = seqDiff(s.seq, this.rcvNxt);
    if (flags & TcpFlag.rst) {
      if (offset === 0) this.finish();
      else if (offset > 0 && offset < seqDiff(this.rcvEdge, this.rcvNxt)) this.answer();
      return;
    }
    if (flags & TcpFlag.syn) {
      this.answer();
      return;
    }
    if (!(flags & TcpFlag.ack)) return;
    if (offset > 0) {
      // Something is missing in between: say what.
      this.answer();
      return;
    }
    this.acknowledge(s);
    if ((this.state as State) === "closed") return;
    let { data } = s;
    let fin = (flags & TcpFlag.fin) !== 0;
    if (offset < 0) {
      const old = -offset;
      if (old >= data.length + (fin ? 1 : 0)) {
        // All of it is known: it was sent again, or it is a probe.
        this.answer();
        this.settle();
        return;
      }
      data = data.subarray(Math.min(old, data.length));
      offset = 0;
    }
    if (data.length > 0 && !this.finReceived) {
      const room = seqDiff(this.rcvEdge, this.rcvNxt);
      if (data.length > room) {
        data = data.subarray(0, Math.max(0, room));
        fin = false;
        this.ackNow = true;
      }
      if (data.length > 0) {
        this.rcvNxt = (this.rcvNxt + data.length) >>> 0;
        this.unacked += data.length;
        this.stream?.write(data);
        if (this.unacked >= 2 * Math.min(this.mss, DEFAULT_LARGE)) this.ackNow = true;
        else this.outlet.ackSoon(this);
      }
    }
    if (fin && !this.finReceived) {
      this.finReceived = true;
      this.rcvNxt = (this.rcvNxt + 1) >>> 0;
      this.ticks = 0;
      this.stream?.end();
      this.ackNow = true;
    }
    this.output();
    this.settle();
  }

  private acknowledge(s: TcpSegment): void {
    const acked = seqDiff(s.ack, this.sndUna);
    if (acked < 0) return;
    if (seqDiff(s.ack, this.sndMax) > 0) {
      this.ackNow = true;
      return;
    }
    const window = s.window << this.sndScale;
    if (acked === 0) {
      if (window === 0) this.retries = 0;
      // What a probe carried was refused while the window was shut.
      else if (this.sndWnd === 0) this.sndNxt = this.sndUna;
      const inFlight = this.sndMax !== this.sndUna;
      if (inFlight && s.data.length === 0 && window === this.lastAckWindow && !(s.flags & TcpFlag.fin)) {
        if (++this.duplicates === DUPLICATE_ACKS && this.recover === undefined) {
          this.recover = this.sndMax;
          this.resendFirst();
        }
      }
    } else {
      this.duplicates = 0;
      this.retries = this.ticks = 0;
      this.rtoTicks = FIRST_RTO_TICKS;
      this.sndUna = s.ack;
      if (seqDiff(this.sndNxt, this.sndUna) < 0) this.sndNxt = this.sndUna;
      const fromQueue = Math.min(this.queue.length, Math.max(0, seqDiff(this.sndUna, this.queueSeq)));
      if (fromQueue > 0) {
        this.queue.drop(fromQueue);
        this.queueSeq = (this.queueSeq + fromQueue) >>> 0;
      }
      if (this.finWanted && this.queue.length === 0 && seqDiff(this.sndUna, this.queueSeq) === 1) this.finAcked = true;
      if (this.recover !== undefined) {
        if (seqDiff(this.sndUna, this.recover) >= 0) this.recover = undefined;
        else this.resendFirst();
      }
      if (!this.reading && this.queue.length < this.outlet.bufferBytes() / 2) {
        this.reading = true;
        this.stream?.setReading(true);
      }
    }
    this.sndWnd = window;
    this.lastAckWindow = window;
  }

  /** An acknowledgement at once. */
  private answer(): void {
    this.ackNow = true;
    this.output();
  }

  /** What follows when a direction has ended. */
  private settle(): void {
    if (this.state !== "open" || !this.finReceived || !this.finAcked) return;
    // The guest may not have got our last acknowledgement.
    this.state = "time-wait";
    this.ticks = 0;
    const { stream } = this;
    this.stream = undefined;
    // Both halves have ended: what the host has not taken yet still goes.
    if (stream) stream.events = { data() {}, ended() {}, drained() {}, closed() {} };
  }

  // To the guest.

  private freeWindow(): number {
    const queued = this.stream?.queuedBytes ?? 0;
    return Math.max(0, this.outlet.bufferBytes() - queued);
  }

  private header(seq: number, flags: number): TcpHeaderFields {
    const syn = (flags & TcpFlag.syn) !== 0;
    let window: number;
    if (flags & TcpFlag.rst) window = 0;
    else if (syn) window = 0xffff;
    else {
      // The edge never moves back, and small steps are not worth telling.
      const told = Math.max(0, seqDiff(this.rcvEdge, this.rcvNxt));
      let free = this.freeWindow();
      if (free < told + Math.min(this.mss, BUFFER_BYTES / 2)) free = told;
      window = Math.min(0xffff, free >> this.rcvScale);
    }
    if (!(flags & TcpFlag.rst)) {
      const edge = (this.rcvNxt + (syn ? window : window << this.rcvScale)) >>> 0;
      if (seqDiff(edge, this.rcvEdge) > 0) this.rcvEdge = edge;
    }
    return {
      sourcePort: this.hostPort,
      destinationPort: this.guestPort,
      seq,
      ack: flags & TcpFlag.ack ? this.rcvNxt : 0,
      flags,
      window,
      mss: syn ? this.outlet.localMss(this.flow.version) : undefined,
      windowScale: syn && this.rcvScale > 0 ? this.rcvScale : undefined,
    };
  }

  private send(seq: number, flags: number, offset: number, bytes: number): boolean {
    const h = this.header(seq, flags);
    if (!this.outlet.sendSegment(this.flow, h, this.queue, offset, bytes, this.mss)) {
      this.outlet.waitForRoom(this);
      return false;
    }
    if (flags & TcpFlag.ack) {
      this.ackNow = false;
      this.unacked = 0;
    }
    return true;
  }

  /** Sends the first unacknowledged segment again. */
  private resendFirst(): void {
    const offset = seqDiff(this.sndUna, this.queueSeq);
    const bytes = Math.min(this.mss, this.queue.length - offset, seqDiff(this.sndMax, this.sndUna));
    if (bytes > 0 && offset >= 0) this.send(this.sndUna, TcpFlag.ack | TcpFlag.psh, offset, bytes);
  }

  /** Sends everything that may be sent. Called again when the card has room. */
  output(): void {
    if (this.state === "syn-sent" || this.state === "syn-received") {
      if (this.sndNxt !== this.sndUna) return;
      if (this.send(this.sndNxt, this.state === "syn-sent" ? TcpFlag.syn : TcpFlag.syn | TcpFlag.ack, 0, 0)) {
        this.sndNxt = (this.sndUna + 1) >>> 0;
        this.sndMax = this.sndNxt;
      }
      return;
    }
    if (this.state !== "open" && this.state !== "time-wait") return;
    const packet = MAX_PACKET - TCP_HEADER - (this.flow.version === 4 ? IPV4_HEADER : IPV6_HEADER);
    const large = Math.min(packet, this.outlet.largeSendBytes(this.flow.version));
    const most = large > this.mss ? Math.floor(large / this.mss) * this.mss : this.mss;
    for (;;) {
      const offset = seqDiff(this.sndNxt, this.queueSeq);
      const left = this.queue.length - offset;
      const finDue = this.finWanted && left === 0;
      const window = seqDiff((this.sndUna + this.sndWnd) >>> 0, this.sndNxt);
      let bytes = Math.max(0, Math.min(left, window, most));
      // A window smaller than a segment waits for more, unless it is all there is or nothing is on its way.
      if (bytes < left && bytes < this.mss && this.sndNxt !== this.sndUna) bytes = 0;
      if (bytes > this.mss && bytes < left) bytes = Math.floor(bytes / this.mss) * this.mss;
      const fin = this.finWanted && bytes === left && (bytes > 0 || finDue);
      if (bytes === 0 && !fin) break;
      if (
        !this.send(
          this.sndNxt,
          TcpFlag.ack | (bytes === left && bytes > 0 ? TcpFlag.psh : 0) | (fin ? TcpFlag.fin : 0),
          offset,
          bytes,
        )
      )
        return;
      this.sndNxt = (this.sndNxt + bytes + (fin ? 1 : 0)) >>> 0;
      if (seqDiff(this.sndNxt, this.sndMax) > 0) this.sndMax = this.sndNxt;
      if (fin) break;
    }
    if (this.ackNow) this.send(this.sndNxt, TcpFlag.ack, 0, 0);
  }

  /** The acknowledgement that `ackSoon` asked for. */
  flushAck(): void {
    if (this.state === "closed" || this.unacked === 0) return;
    this.answer();
  }

  /** A tick of the timers. */
  tick(): void {
    this.ticks++;
    switch (this.state) {
      case "connecting":
        if (this.ticks > CONNECT_TICKS) {
          this.outlet.unreachable(this);
          this.finish();
        }
        return;
      case "time-wait":
        if (this.ticks > TIME_WAIT_TICKS) this.finishQuietly();
        return;
      case "closed":
        return;
    }
    const waiting = this.sndMax !== this.sndUna;
    const blocked = !waiting && this.state === "open" && this.queue.length > 0 && this.sndWnd === 0;
    if (!waiting && !blocked) {
      if (!this.finReceived) this.ticks = 0;
      else if (this.finWanted && this.ticks > FIN_WAIT_TICKS) this.reset();
      return;
    }
    if (this.ticks < this.rtoTicks) return;
    this.ticks = 0;
    this.rtoTicks = Math.min(MAX_RTO_TICKS, this.rtoTicks * 2);
    // A guest that keeps its window shut but answers probes may do so for ever.
    if (!blocked && ++this.retries > MAX_RETRIES) {
      this.reset();
      return;
    }
    this.recover = undefined;
    this.duplicates = 0;
    if (this.state === "open" && this.queue.length > 0 && this.sndWnd === 0) {
      // Window probe: one byte, of which the guest says what it thinks.
      const offset = seqDiff(this.sndUna, this.queueSeq);
      if (offset >= 0 && offset < this.queue.length && this.send(this.sndUna, TcpFlag.ack, offset, 1)) {
        const next = (this.sndUna + 1) >>> 0;
        if (seqDiff(next, this.sndMax) > 0) this.sndMax = next;
        if (seqDiff(next, this.sndNxt) > 0) this.sndNxt = next;
      }
      return;
    }
    this.sndNxt = this.sndUna;
    this.output();
  }

  private finishQuietly(): void {
    this.state = "closed";
    this.queue.clear();
    this.outlet.gone(this);
  }

  /** The network goes away. */
  abandon(): void {
    this.state = "closed";
    this.queue.clear();
    this.stream?.destroy();
    this.stream = undefined;
  }

  /** One line of `info usernet`. */
  describe(): { state: string; sendBytes: number; receiveBytes: number } {
    const names: { [s in State]: string } = {
      connecting: "SYN_SENT",
      "syn-sent": "SYN_SENT",
      "syn-received": "SYN_RCVD",
      open: this.finReceived ? (this.finWanted ? "LAST_ACK" : "CLOSE_WAIT") : this.finWanted ? "FIN_WAIT_1" : "ESTABLISHED",
      "time-wait": "TIME_WAIT",
      closed: "CLOSED",
    };
    return { state: names[this.state], sendBytes: this.queue.length, receiveBytes: this.stream?.queuedBytes ?? 0 };
  }
}

/** Acknowledge at least every so many bytes, whatever the MSS. */
const DEFAULT_LARGE = 1460;

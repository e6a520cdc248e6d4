/**
 * `-netdev socket`: frames over a TCP connection, each after its length in 32 bits (big-endian), or as UDP datagrams to one
 * peer or a multicast group, by which several machines share a network.
 * Source: QEMU 7.2 documentation, `-netdev socket`; the format of the stream as QEMU writes it.
 */
import type { HostNetwork, NetAddress, TcpListener, TcpStream, UdpSocket } from "../host/network.js";
import { HoldingBackend, MAX_FRAME_BYTES } from "./backend.js";
import { get32, put32 } from "./bytes.js";

/** Bytes that wait for a slow peer; later frames are dropped. */
const MAX_QUEUED_BYTES = 2 ** 20;
/** Frames that wait for the card before the peer is held back. */
const PAUSE_AT = 32;
const LENGTH_BYTES = 4;

/** listen= and connect=. One peer at a time. */
export class StreamSocketBackend extends HoldingBackend {
  private stream: TcpStream | undefined;
  private listener: TcpListener | undefined;
  private partial: Uint8Array = new Uint8Array(0);
  private paused = false;
  private text: string;

  private constructor(
    id: string,
    private readonly network: HostNetwork,
    address: NetAddress,
    server: boolean,
  ) {
    super(id);
    this.text = server
      ? `socket: wait from ${address.host}:${address.port}`
      : `socket: connect to ${address.host}:${address.port}`;
  }

  /** @throws VmError "net/io" */
  static async listen(id: string, network: HostNetwork, at: NetAddress): Promise<StreamSocketBackend> {
    const b = new StreamSocketBackend(id, network, at, true);
    b.listener = await network.listenTcp(at, (stream) => b.accept(stream));
    return b;
  }

  /** Resolves at once; a peer that cannot be reached is tried again when the guest sends. */
  static connect(id: string, network: HostNetwork, to: NetAddress): StreamSocketBackend {
    const b = new StreamSocketBackend(id, network, to, false);
    b.dial(to);
    return b;
  }

  /** As `info network` shows it. */
  get description(): string {
    return this.text;
  }

  get address(): NetAddress | undefined {
    return this.listener?.local;
  }

  private dial(to: NetAddress): void {
    const events = {
      data: (bytes: Uint8Array) => this.fromPeer(bytes),
      ended: () => this.drop(),
      drained: () => {},
      closed: () => {
        this.stream = undefined;
        this.partial = new Uint8Array(0);
        this.text = `socket: not connected to ${to.host}:${to.port}`;
      },
      connected: () => {
        this.text = `socket: connect to ${to.host}:${to.port}`;
      },
    };
    this.stream = this.network.connectTcp(to, events);
  }

  private accept(stream: TcpStream): void {
    if (this.stream) {
      stream.destroy();
      return;
    }
    this.stream = stream;
    this.partial = new Uint8Array(0);
    this.text = `socket: connection from ${stream.remote.host}:${stream.remote.port}`;
    stream.events = {
      data: (bytes) => this.fromPeer(bytes),
      ended: () => this.drop(),
      drained: () => {},
      closed: () => {
        this.stream = undefined;
        this.text = "socket:";
      },
    };
  }

  private drop(): void {
    this.stream?.destroy();
    this.stream = undefined;
    this.partial = new Uint8Array(0);
  }

  private fromPeer(bytes: Uint8Array): void {
    let all = bytes;
    if (this.partial.length > 0) {
      all = new Uint8Array(this.partial.length + bytes.length);
      all.set(this.partial);
      all.set(bytes, this.partial.length);
    }
    let at = 0;
    while (all.length - at >= LENGTH_BYTES) {
      const length = get32(all, at);
      // A peer that says more than any frame has speaks another language.
      if (length > MAX_FRAME_BYTES) {
        this.drop();
        return;
      }
      if (all.length - at - LENGTH_BYTES < length) break;
      if (length > 0) this.deliver(all.subarray(at + LENGTH_BYTES, at + LENGTH_BYTES + length));
      at += LENGTH_BYTES + length;
    }
    this.partial = all.slice(at);
    if (this.heldFrames >= PAUSE_AT && !this.paused) {
      this.paused = true;
      this.stream?.setReading(false);
    }
  }

  protected override onRoom(): void {
    if (!this.paused || this.heldFrames >= PAUSE_AT / 2) return;
    this.paused = false;
    this.stream?.setReading(true);
  }

  override send(frame: Uint8Array): void {
    const { stream } = this;
    if (!this.linkUp || !stream || stream.queuedBytes > MAX_QUEUED_BYTES) {
      if (stream) this.dropped++;
      return;
    }
    const length = new Uint8Array(LENGTH_BYTES);
    put32(length, 0, frame.length);
    stream.write(length);
    stream.write(frame);
  }

  override close(): void {
    this.listener?.close();
    this.drop();
  }
}

/** mcast= and udp=. */
export class DatagramBackend extends HoldingBackend {
  private constructor(
    id: string,
    private readonly receiver: UdpSocket,
    private readonly sender: UdpSocket,
    private readonly peer: NetAddress,
    readonly description: string,
  ) {
    super(id);
    receiver.onDatagram = (bytes, from) => {
      // A group brings back what was sent to it.
      if (sender !== receiver && from.port === sender.local.port && this.isOwn(from.host)) return;
      if (bytes.length <= MAX_FRAME_BYTES) this.deliver(bytes);
    };
  }

  /** Whether the group's datagram came from this machine's socket: the host gave it one of its addresses. */
  private isOwn(host: string): boolean {
    const bound = this.sender.local.host;
    return bound === "0.0.0.0" || bound === host;
  }

  /** @throws VmError "net/io" */
  static async multicast(id: string, network: HostNetwork, group: NetAddress, local?: string): Promise<DatagramBackend> {
    const receiver = await network.openUdp({ host: "0.0.0.0", port: group.port }, { group: group.host, local });
    try {
      const sender = await network.openUdp({ host: local ?? "0.0.0.0", port: 0 }, { local });
      return new DatagramBackend(id, receiver, sender, group, `socket: mcast=${group.host}:${group.port}`);
    } catch (e) {
      receiver.close();
      throw e;
    }
  }

  /** @throws VmError "net/io" */
  static async unicast(id: string, network: HostNetwork, local: NetAddress, peer: NetAddress): Promise<DatagramBackend> {
    const socket = await network.openUdp(local);
    return new DatagramBackend(id, socket, socket, peer, `socket: udp=${peer.host}:${peer.port}`);
  }

  override send(frame: Uint8Array): void {
    if (this.linkUp) this.sender.send(frame, this.peer);
  }

  override close(): void {
    this.receiver.close();
    this.sender.close();
  }
}

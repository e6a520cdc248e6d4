/**
 * UDP of a user-mode network: each port of the guest has a socket of the host, and forwarded ports of the host know their
 * peers. Datagrams to the name server's port go to the host's name server.
 *
 * Source: RFC 768. Not emulated: ICMP errors that the host gets for a datagram do not reach the guest.
 */
import type { HostNetwork, NetAddress, UdpSocket } from "../../host/network.js";
import { get16, put16 } from "../bytes.js";
import { addWords, foldChecksum } from "../offload.js";
import type { HostForward } from "./config.js";
import { type Flow, Protocol, pseudoSum } from "./frames.js";
import type { Stack } from "./stack.js";

export const UDP_HEADER = 8;
export const UDP_CHECKSUM = 6;
export const DNS_PORT = 53;
/** Ports of the guest, and peers of forwarded ports, that are remembered. */
const MAX_ASSOCIATIONS = 1024;
/** Datagrams that wait for their socket to be opened. */
const MAX_OPENING = 16;
/** Addresses of one port that answers are translated back to. */
const MAX_PEERS = 64;
const IDLE_TICKS = 2400;
const IDLE_DNS_TICKS = 100;
const MAX_DATAGRAM = 65507;

interface Association {
  readonly flow: Flow;
  readonly guestPort: number;
  socket: UdpSocket | undefined;
  opening: { readonly bytes: Uint8Array; readonly to: NetAddress }[];
  /** Host address and port to those that the guest used. */
  readonly peers: Map<string, { readonly address: Uint8Array; readonly port: number }>;
  idle: number;
  dns: boolean;
}

interface Forwarded {
  readonly socket: UdpSocket;
  readonly peer: NetAddress;
  idle: number;
}

export class Udp {
  private readonly associations = new Map<string, Association>();
  private readonly forwarded = new Map<string, Forwarded>();

  constructor(private readonly stack: Stack) {}

  /** A UDP part of a packet of the guest whose length fits. */
  input(flow: Flow, part: Uint8Array, verify: boolean): void {
    if (part.length < UDP_HEADER) return;
    const length = get16(part, 4);
    if (length < UDP_HEADER || length > part.length) return;
    const datagram = part.subarray(0, length);
    if (verify && (get16(part, UDP_CHECKSUM) !== 0 || flow.version === 6)) {
      const pseudo = pseudoSum(flow.guest, flow.other, Protocol.udp, length);
      if (foldChecksum(addWords(pseudo, datagram, 0, length)) !== 0) return;
    }
    const guestPort = get16(part, 0);
    const port = get16(part, 2);
    const bytes = datagram.slice(UDP_HEADER);
    const reply = this.forwarded.get(keyOf(flow.guest, guestPort, flow.other, port));
    if (reply) {
      reply.idle = 0;
      reply.socket.send(bytes, reply.peer);
      return;
    }
    const to = this.stack.destination(flow.other, port);
    const { network } = this.stack;
    if (!to || !network || bytes.length > MAX_DATAGRAM) return;
    const a = this.association(network, flow, guestPort);
    a.idle = 0;
    a.dns = port === DNS_PORT;
    const peer = `${to.host} ${to.port}`;
    if (a.peers.size >= MAX_PEERS && !a.peers.has(peer)) a.peers.delete(a.peers.keys().next().value!);
    a.peers.set(peer, { address: flow.other, port });
    if (a.socket) a.socket.send(bytes, to);
    else if (a.opening.length < MAX_OPENING) a.opening.push({ bytes, to });
  }

  private association(network: HostNetwork, flow: Flow, guestPort: number): Association {
    // A socket of one family serves both ends: what the guest says by IPv4 goes out by IPv4.
    const key = keyOf(flow.guest, guestPort);
    const known = this.associations.get(key);
    if (known) return known;
    if (this.associations.size >= MAX_ASSOCIATIONS) this.drop(this.associations.keys().next().value!);
    const a: Association = { flow, guestPort, socket: undefined, opening: [], peers: new Map(), idle: 0, dns: false };
    this.associations.set(key, a);
    this.stack.wantTicks();
    const first = this.stack.destination(flow.other, 0)?.host ?? "";
    network.openUdp({ host: first.includes(":") ? "::" : "0.0.0.0", port: 0 }).then(
      (socket) => {
        if (this.associations.get(key) !== a) {
          socket.close();
          return;
        }
        a.socket = socket;
        socket.onDatagram = (bytes, from) => this.fromHost(a, bytes, from);
        for (const { bytes, to } of a.opening) socket.send(bytes, to);
        a.opening = [];
      },
      () => this.drop(key),
    );
    return a;
  }

  private fromHost(a: Association, bytes: Uint8Array, from: NetAddress): void {
    a.idle = 0;
    const used = a.peers.get(`${from.host} ${from.port}`);
    const other = used?.address ?? this.stack.guestView(from.host);
    if (other.length !== a.flow.guest.length) return;
    this.post({ ...a.flow, other }, used?.port ?? from.port, a.guestPort, bytes);
  }

  private post(flow: Flow, sourcePort: number, destinationPort: number, bytes: Uint8Array): void {
    const part = new Uint8Array(UDP_HEADER + bytes.length);
    put16(part, 0, sourcePort);
    put16(part, 2, destinationPort);
    put16(part, 4, part.length);
    part.set(bytes, UDP_HEADER);
    this.stack.postPacket(flow, Protocol.udp, part, UDP_CHECKSUM);
  }

  /** Opens a forwarded port. @throws VmError "net/io" */
  async forward(network: HostNetwork, rule: HostForward): Promise<UdpSocket> {
    const socket = await network.openUdp({ host: rule.hostAddress === "" ? "0.0.0.0" : rule.hostAddress, port: rule.hostPort });
    socket.onDatagram = (bytes, peer) => {
      const flow = this.stack.forwardFlow(rule, peer.host);
      const key = keyOf(flow.guest, rule.guestPort, flow.other, peer.port);
      if (this.forwarded.size >= MAX_ASSOCIATIONS && !this.forwarded.has(key))
        this.forwarded.delete(this.forwarded.keys().next().value!);
      this.forwarded.set(key, { socket, peer, idle: 0 });
      this.stack.wantTicks();
      this.post(flow, peer.port, rule.guestPort, bytes);
    };
    return socket;
  }

  /** @returns whether anything still needs time */
  tick(): boolean {
    for (const [key, a] of this.associations) if (++a.idle > (a.dns ? IDLE_DNS_TICKS : IDLE_TICKS)) this.drop(key);
    for (const [key, f] of this.forwarded) if (++f.idle > IDLE_TICKS) this.forwarded.delete(key);
    return this.associations.size + this.forwarded.size > 0;
  }

  private drop(key: string): void {
    const a = this.associations.get(key);
    this.associations.delete(key);
    a?.socket?.close();
  }

  list(): { readonly guest: Uint8Array; readonly guestPort: number; readonly local: NetAddress | undefined }[] {
    return [...this.associations.values()].map((a) => ({
      guest: a.flow.guest,
      guestPort: a.guestPort,
      local: a.socket?.local,
    }));
  }

  close(): void {
    for (const key of [...this.associations.keys()]) this.drop(key);
    this.forwarded.clear();
  }
}

function keyOf(guest: Uint8Array, guestPort: number, other?: Uint8Array, port?: number): string {
  return `${guest.join(".")}:${guestPort}-${other?.join(".") ?? ""}:${port ?? ""}`;
}

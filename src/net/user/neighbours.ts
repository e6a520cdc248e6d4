/**
 * Who is who on a user-mode network: answers to ARP and neighbour discovery, router advertisements, and the guests'
 * Ethernet addresses.
 * Sources: RFC 826, RFC 4861, RFC 8106 (name servers in router advertisements).
 */

import { samePrefix } from "../address.js";
import { get16, put16, put32, sameBytes } from "../bytes.js";
import { gatewayMac, type UserNetConfig } from "./config.js";
import { buildPacket, ETH_HEADER, EtherType, type Flow, Protocol, putEthernet } from "./frames.js";

/** Guests that are remembered. */
const MAX_NEIGHBOURS = 256;
export const BROADCAST_MAC = Uint8Array.of(255, 255, 255, 255, 255, 255);
const ARP_BYTES = 28;
const Arp = { request: 1, reply: 2 } as const;

export const Icmp6 = { echoRequest: 128, echoReply: 129, routerSolicit: 133, routerAdvert: 134, solicit: 135, advert: 136 };
const Option6 = { source: 1, target: 2, prefix: 3, rdnss: 25 } as const;
const LINK_LOCAL = Uint8Array.of(0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC = Uint8Array.of(0x33, 0x33, 0, 0, 0, 1);
const ROUTER_LIFETIME_SEC = 1800;
const PREFIX_VALID_SEC = 86400;
const PREFIX_PREFERRED_SEC = 14400;

export class Neighbours {
  private readonly macs = new Map<string, Uint8Array>();
  readonly mac: Uint8Array;
  /** The router's own link-local address, fe80::2. */
  readonly linkLocal: Uint8Array;
  /** An address of the guest has become known. */
  onLearn: (address: Uint8Array, mac: Uint8Array) => void = () => {};

  constructor(private readonly config: UserNetConfig) {
    this.mac = gatewayMac(config);
    this.linkLocal = LINK_LOCAL.slice();
    this.linkLocal[15] = 2;
  }

  find(address: Uint8Array): Uint8Array | undefined {
    return this.macs.get(address.join("."));
  }

  learn(address: Uint8Array, mac: Uint8Array): void {
    // Neither a group nor an unspecified address belongs to anybody.
    if ((mac[0]! & 1) !== 0 || address.every((b) => b === 0)) return;
    const key = address.join(".");
    const known = this.macs.get(key);
    if (known && sameBytes(known, mac)) return;
    if (!known && this.macs.size >= MAX_NEIGHBOURS) this.macs.delete(this.macs.keys().next().value!);
    const copy = mac.slice();
    this.macs.set(key, copy);
    this.onLearn(address.slice(), copy);
  }

  /** An ARP packet of the guest. @returns the frame that answers it */
  arp(frame: Uint8Array): Uint8Array | undefined {
    const at = ETH_HEADER;
    if (frame.length < at + ARP_BYTES) return undefined;
    if (get16(frame, at) !== 1 || get16(frame, at + 2) !== EtherType.ipv4 || frame[at + 4] !== 6 || frame[at + 5] !== 4)
      return undefined;
    const operation = get16(frame, at + 6);
    const senderMac = frame.subarray(at + 8, at + 14);
    const sender = frame.subarray(at + 14, at + 18);
    const target = frame.subarray(at + 24, at + 28);
    const { config } = this;
    if (samePrefix(sender, config.network, config.prefix)) this.learn(sender, senderMac);
    if (operation !== Arp.request) return undefined;
    if (!sameBytes(target, config.host) && !sameBytes(target, config.dns)) return undefined;
    return this.arpFrame(Arp.reply, target, senderMac, sender);
  }

  /** Asks who has an address. */
  arpRequest(address: Uint8Array): Uint8Array {
    return this.arpFrame(Arp.request, this.config.host, undefined, address);
  }

  private arpFrame(operation: number, ours: Uint8Array, theirMac: Uint8Array | undefined, theirs: Uint8Array): Uint8Array {
    const at = ETH_HEADER;
    const f = new Uint8Array(at + ARP_BYTES);
    putEthernet(f, theirMac ?? BROADCAST_MAC, this.mac, EtherType.arp);
    put16(f, at, 1);
    put16(f, at + 2, EtherType.ipv4);
    f[at + 4] = 6;
    f[at + 5] = 4;
    put16(f, at + 6, operation);
    f.set(this.mac, at + 8);
    f.set(ours, at + 14);
    if (theirMac) f.set(theirMac, at + 18);
    f.set(theirs, at + 24);
    return f;
  }

  /** Whether an IPv6 address is the network's own. */
  own6(address: Uint8Array): boolean {
    return sameBytes(address, this.config.host6) || sameBytes(address, this.config.dns6) || sameBytes(address, this.linkLocal);
  }

  /** An ICMPv6 part for neighbour discovery. @returns the frame that answers it */
  discover(part: Uint8Array, source: Uint8Array, sourceMac: Uint8Array): Uint8Array | undefined {
    switch (part[0]) {
      case Icmp6.routerSolicit:
        return this.advertiseRouter();
      case Icmp6.solicit: {
        if (part.length < 24) return undefined;
        const target = part.slice(8, 24);
        const unspecified = source.every((b) => b === 0);
        if (!unspecified) this.learn(source, sourceMac);
        if (!this.own6(target)) return undefined;
        return this.advertiseNeighbour(target, unspecified ? ALL_NODES : source, unspecified ? ALL_NODES_MAC : sourceMac);
      }
      case Icmp6.advert:
        if (part.length >= 24) this.learn(part.subarray(8, 24), sourceMac);
        return undefined;
    }
    return undefined;
  }

  private advertiseNeighbour(target: Uint8Array, to: Uint8Array, toMac: Uint8Array): Uint8Array {
    const part = new Uint8Array(32);
    part[0] = Icmp6.advert;
    // Router, override; solicited when somebody asked.
    part[4] = sameBytes(to, ALL_NODES) ? 0xa0 : 0xe0;
    part.set(target, 8);
    part[24] = Option6.target;
    part[25] = 1;
    part.set(this.mac, 26);
    const flow: Flow = { version: 6, guest: to, other: target, guestMac: toMac };
    return buildPacket(flow, this.mac, Protocol.icmp6, part, 2);
  }

  /** Asks who has an address. */
  solicit(address: Uint8Array): Uint8Array {
    const group = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, ...address.subarray(13));
    const part = new Uint8Array(32);
    part[0] = Icmp6.solicit;
    part.set(address, 8);
    part[24] = Option6.source;
    part[25] = 1;
    part.set(this.mac, 26);
    const mac = Uint8Array.of(0x33, 0x33, ...group.subarray(12));
    return buildPacket({ version: 6, guest: group, other: this.linkLocal, guestMac: mac }, this.mac, Protocol.icmp6, part, 2);
  }

  /** A router advertisement to all: the prefix, and the name server. */
  advertiseRouter(): Uint8Array {
    const { config } = this;
    const part = new Uint8Array(16 + 8 + 32 + (config.restrict ? 0 : 24));
    part[0] = Icmp6.routerAdvert;
    part[4] = 64;
    put16(part, 6, config.restrict ? 0 : ROUTER_LIFETIME_SEC);
    part[16] = Option6.source;
    part[17] = 1;
    part.set(this.mac, 18);
    part[24] = Option6.prefix;
    part[25] = 4;
    part[26] = config.prefix6;
    // On link, and for addresses that the guest makes itself.
    part[27] = 0xc0;
    put32(part, 28, PREFIX_VALID_SEC);
    put32(part, 32, PREFIX_PREFERRED_SEC);
    part.set(config.network6, 40);
    if (!config.restrict) {
      part[56] = Option6.rdnss;
      part[57] = 3;
      put32(part, 60, ROUTER_LIFETIME_SEC);
      part.set(config.dns6, 64);
    }
    const flow: Flow = { version: 6, guest: ALL_NODES, other: this.linkLocal, guestMac: ALL_NODES_MAC };
    return buildPacket(flow, this.mac, Protocol.icmp6, part, 2);
  }
}

/**
 * Ethernet and IP headers of frames for the guest, and the sums over them.
 * Sources: RFC 894, RFC 791 3.1, RFC 8200 3 and 8.1.
 */
import { put16, put32 } from "../bytes.js";
import { addWords, foldChecksum } from "../offload.js";

export const ETH_HEADER = 14;
export const EtherType = { ipv4: 0x0800, arp: 0x0806, ipv6: 0x86dd } as const;
export const Protocol = { icmp: 1, tcp: 6, udp: 17, icmp6: 58 } as const;
export const IPV4_HEADER = 20;
export const IPV6_HEADER = 40;
/** Largest IP packet that leaves without segmentation. */
export const MTU = 1500;
const TTL = 64;
const DONT_FRAGMENT = 0x4000;

/** Two IP addresses of one version and the guest's card: what a packet to the guest needs besides its contents. */
export interface Flow {
  readonly version: 4 | 6;
  /** Guest's address. */
  readonly guest: Uint8Array;
  /** The other's, as the guest knows it. */
  readonly other: Uint8Array;
  guestMac: Uint8Array;
}

/** Where a flow's layer 4 begins in a frame. */
export function payloadOffset(flow: Pick<Flow, "version">): number {
  return ETH_HEADER + (flow.version === 4 ? IPV4_HEADER : IPV6_HEADER);
}

export function putEthernet(frame: Uint8Array, to: Uint8Array, from: Uint8Array, type: number): void {
  frame.set(to, 0);
  frame.set(from, 6);
  put16(frame, 12, type);
}

let identification = 0;

/** Writes the headers before a layer-4 part of `length` bytes. @returns where that part begins */
export function putHeaders(frame: Uint8Array, flow: Flow, gatewayMac: Uint8Array, protocol: number, length: number): number {
  const ip = ETH_HEADER;
  if (flow.version === 4) {
    putEthernet(frame, flow.guestMac, gatewayMac, EtherType.ipv4);
    frame[ip] = 0x45;
    frame[ip + 1] = 0;
    put16(frame, ip + 2, IPV4_HEADER + length);
    identification = (identification + 1) & 0xffff;
    put16(frame, ip + 4, identification);
    put16(frame, ip + 6, DONT_FRAGMENT);
    frame[ip + 8] = TTL;
    frame[ip + 9] = protocol;
    put16(frame, ip + 10, 0);
    frame.set(flow.other, ip + 12);
    frame.set(flow.guest, ip + 16);
    put16(frame, ip + 10, foldChecksum(addWords(0, frame, ip, ip + IPV4_HEADER)));
    return ip + IPV4_HEADER;
  }
  putEthernet(frame, flow.guestMac, gatewayMac, EtherType.ipv6);
  put32(frame, ip, 0x60000000);
  put16(frame, ip + 4, length);
  frame[ip + 6] = protocol;
  frame[ip + 7] = protocol === Protocol.icmp6 ? 255 : TTL;
  frame.set(flow.other, ip + 8);
  frame.set(flow.guest, ip + 24);
  return ip + IPV6_HEADER;
}

/** The sum of the pseudo header of a layer-4 part of `length` bytes. */
export function pseudoSum(a: Uint8Array, b: Uint8Array, protocol: number, length: number): number {
  return addWords(addWords(protocol + length, a, 0, a.length), b, 0, b.length);
}

/** A frame of its own with one layer-4 part; `checksumAt`: offset of its checksum field in the part, filled in here. */
export function buildPacket(
  flow: Flow,
  gatewayMac: Uint8Array,
  protocol: number,
  part: Uint8Array,
  checksumAt: number,
): Uint8Array {
  const frame = new Uint8Array(payloadOffset(flow) + part.length);
  const at = putHeaders(frame, flow, gatewayMac, protocol, part.length);
  frame.set(part, at);
  put16(frame, at + checksumAt, 0);
  // ICMP over IPv4 has no pseudo header.
  const start = protocol === Protocol.icmp ? 0 : pseudoSum(flow.other, flow.guest, protocol, part.length);
  const sum = foldChecksum(addWords(start, frame, at, frame.length));
  put16(frame, at + checksumAt, sum === 0 && protocol === Protocol.udp ? 0xffff : sum);
  return frame;
}

/** Cuts an IPv4 frame that is larger than the MTU into fragments (RFC 791 3.2). */
export function fragmentIpv4(frame: Uint8Array): Uint8Array[] {
  const start = ETH_HEADER + IPV4_HEADER;
  if (frame.length - ETH_HEADER <= MTU) return [frame];
  const size = (MTU - IPV4_HEADER) & ~7;
  const out: Uint8Array[] = [];
  for (let at = start; at < frame.length; at += size) {
    const end = Math.min(frame.length, at + size);
    const f = new Uint8Array(start + end - at);
    f.set(frame.subarray(0, start));
    f.set(frame.subarray(at, end), start);
    put16(f, ETH_HEADER + 2, f.length - ETH_HEADER);
    put16(f, ETH_HEADER + 6, ((at - start) >> 3) | (end < frame.length ? 0x2000 : 0));
    put16(f, ETH_HEADER + 10, 0);
    put16(f, ETH_HEADER + 10, foldChecksum(addWords(0, f, ETH_HEADER, start)));
    out.push(f);
  }
  return out;
}

/**
 * What a card does for a driver that leaves it checksums and segmentation (virtio 1.2 §5.1.6.2): completes the checksum
 * of a packet, and cuts a large TCP packet into frames (RFC 9293 3.1, RFC 791 3.1, RFC 8200 3).
 *
 * Not emulated: UDP segmentation, ECN in large packets, tunnels.
 */
import { get16, put16 } from "./bytes.js";

/** The header in front of each packet (§5.1.6). `num_buffers` follows on newer drivers. */
export interface NetHeader {
  readonly flags: number;
  readonly gsoType: number;
  /** The large packet has the CWR flag: only its first segment keeps it. */
  readonly ecn?: boolean | undefined;
  readonly gsoSize: number;
  readonly csumStart: number;
  readonly csumOffset: number;
}

export const NET_HDR_NEEDS_CSUM = 1;
/** The checksum has been found right. */
export const NET_HDR_DATA_VALID = 2;
export const GsoType = { none: 0, tcpv4: 1, udp: 3, tcpv6: 4, ecn: 0x80 } as const;

const ETH_TYPE = 12;
const ETHERTYPE = { ipv4: 0x0800, ipv6: 0x86dd, vlan: 0x8100, serviceVlan: 0x88a8 } as const;
const IPV6_HEADER = 40;
const IP_TCP = 6;
const TCP_HEADER = 20;
const TCP_FIN_PSH = 0x09;
const TCP_CWR = 0x80;
/** Most frames out of one packet: 64 KiB at the smallest segment size that TCP stacks use (48). */
const MAX_SEGMENTS = 1400;

/** Adds big-endian 16-bit words of [start, end) to a sum; the sum fits a double for any length here. */
export function addWords(sum: number, bytes: Uint8Array, start: number, end: number): number {
  let i = start;
  for (; i + 1 < end; i += 2) sum += (bytes[i]! << 8) | bytes[i + 1]!;
  if (i < end) sum += bytes[i]! << 8;
  return sum;
}

/** Folds a sum to 16 bits and inverts it: the Internet checksum (RFC 1071). */
export function foldChecksum(sum: number): number {
  while (sum > 0xffff) sum = (sum % 0x10000) + Math.floor(sum / 0x10000);
  return ~sum & 0xffff;
}

/** Completes the checksum that a driver has begun. @returns false when it lies outside the packet */
export function completeChecksum(frame: Uint8Array, header: NetHeader): boolean {
  const at = header.csumStart + header.csumOffset;
  if (header.csumStart >= frame.length || at + 2 > frame.length) return false;
  const sum = foldChecksum(addWords(0, frame, header.csumStart, frame.length)) || 0xffff;
  frame[at] = sum >> 8;
  frame[at + 1] = sum;
  return true;
}

/**
 * Cuts a large TCP packet into frames and gives each to `send` (valid during the call).
 * @returns false when the packet is not what its header says; nothing was sent then
 */
export function segmentTcp(frame: Uint8Array, header: NetHeader, send: (frame: Uint8Array) => void): boolean {
  const v4 = header.gsoType === GsoType.tcpv4;
  if (!v4 && header.gsoType !== GsoType.tcpv6) return false;
  const mss = header.gsoSize;
  if (mss === 0) return false;
  let type = ETH_TYPE;
  for (let tags = 0; tags < 2 && type + 4 < frame.length; tags++) {
    const t = get16(frame, type);
    if (t !== ETHERTYPE.vlan && t !== ETHERTYPE.serviceVlan) break;
    type += 4;
  }
  const ip = type + 2;
  if (ip + (v4 ? 20 : IPV6_HEADER) > frame.length) return false;
  if (get16(frame, type) !== (v4 ? ETHERTYPE.ipv4 : ETHERTYPE.ipv6)) return false;
  // IPv6 may have extension headers in between; there the driver's word is where TCP begins.
  const tcp = v4 ? ip + (frame[ip]! & 15) * 4 : header.csumStart;
  if (v4 ? tcp < ip + 20 || frame[ip + 9] !== IP_TCP : tcp < ip + IPV6_HEADER) return false;
  if (tcp + TCP_HEADER > frame.length) return false;
  const payload = tcp + (frame[tcp + 12]! >> 4) * 4;
  if (payload < tcp + TCP_HEADER || payload > frame.length) return false;
  const total = frame.length - payload;
  const segments = Math.max(1, Math.ceil(total / mss));
  if (segments > MAX_SEGMENTS) return false;

  const out = new Uint8Array(payload + Math.min(mss, total));
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const sequence = view.getUint32(tcp + 4);
  const ident = get16(frame, ip + 4);
  const flags = frame[tcp + 13]!;
  for (let i = 0; i < segments; i++) {
    const n = Math.min(mss, total - i * mss);
    const seg = out.subarray(0, payload + n);
    seg.set(frame.subarray(0, payload));
    seg.set(frame.subarray(payload + i * mss, payload + i * mss + n), payload);
    const l4 = seg.length - tcp;
    if (v4) {
      put16(seg, ip + 2, seg.length - ip);
      put16(seg, ip + 4, ident + i);
      put16(seg, ip + 10, 0);
      put16(seg, ip + 10, foldChecksum(addWords(0, seg, ip, tcp)));
    } else put16(seg, ip + 4, seg.length - ip - IPV6_HEADER);
    const seq = (sequence + i * mss) >>> 0;
    put16(seg, tcp + 4, seq >>> 16);
    put16(seg, tcp + 6, seq);
    seg[tcp + 13] = flags & ~(i + 1 < segments ? TCP_FIN_PSH : 0) & ~(i > 0 ? TCP_CWR : 0);
    put16(seg, tcp + 16, 0);
    // Pseudo header: addresses, protocol, length.
    const pseudo = addWords(IP_TCP + l4, seg, v4 ? ip + 12 : ip + 8, v4 ? ip + 20 : ip + IPV6_HEADER);
    put16(seg, tcp + 16, foldChecksum(addWords(pseudo, seg, tcp, seg.length)));
    send(seg);
  }
  return true;
}

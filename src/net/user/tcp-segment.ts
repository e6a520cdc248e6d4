/** TCP segments, read and written. Source: RFC 9293 3.1, 3.2; RFC 7323 2. */
import { get16, get32, put16, put32 } from "../bytes.js";

export const TcpFlag = { fin: 1, syn: 2, rst: 4, psh: 8, ack: 16, urg: 32 } as const;
export const TCP_HEADER = 20;
export const TCP_CHECKSUM = 16;
/** Options of a SYN: MSS (4) and window scale (4, padded). */
const SYN_OPTIONS = 8;
const Option = { end: 0, nop: 1, mss: 2, windowScale: 3 } as const;
const MAX_WINDOW_SCALE = 14;

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  /** As sent, not scaled. */
  readonly window: number;
  readonly data: Uint8Array;
  /** Of a SYN. */
  readonly mss: number | undefined;
  readonly windowScale: number | undefined;
}

/** @returns undefined when lengths do not fit */
export function parseTcp(part: Uint8Array): TcpSegment | undefined {
  if (part.length < TCP_HEADER) return undefined;
  const header = (part[12]! >> 4) * 4;
  if (header < TCP_HEADER || header > part.length) return undefined;
  const flags = part[13]!;
  let mss: number | undefined;
  let windowScale: number | undefined;
  if (flags & TcpFlag.syn)
    for (let at = TCP_HEADER; at < header; ) {
      const kind = part[at]!;
      if (kind === Option.end) break;
      if (kind === Option.nop) {
        at++;
        continue;
      }
      const length = at + 1 < header ? part[at + 1]! : 0;
      if (length < 2 || at + length > header) break;
      if (kind === Option.mss && length === 4) mss = get16(part, at + 2);
      if (kind === Option.windowScale && length === 3) windowScale = Math.min(MAX_WINDOW_SCALE, part[at + 2]!);
      at += length;
    }
  return {
    sourcePort: get16(part, 0),
    destinationPort: get16(part, 2),
    seq: get32(part, 4),
    ack: get32(part, 8),
    flags,
    window: get16(part, 14),
    data: part.subarray(header),
    mss,
    windowScale,
  };
}

export interface TcpHeaderFields {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly seq: number;
  readonly ack: number;
  readonly flags: number;
  readonly window: number;
  readonly mss?: number | undefined;
  readonly windowScale?: number | undefined;
}

/** Bytes that a header takes. */
export function tcpHeaderBytes(h: TcpHeaderFields): number {
  return TCP_HEADER + (h.mss === undefined ? 0 : SYN_OPTIONS);
}

/** Writes a header with an empty checksum field. @returns where the data begins */
export function putTcpHeader(out: Uint8Array, at: number, h: TcpHeaderFields): number {
  const bytes = tcpHeaderBytes(h);
  put16(out, at, h.sourcePort);
  put16(out, at + 2, h.destinationPort);
  put32(out, at + 4, h.seq);
  put32(out, at + 8, h.ack);
  out[at + 12] = (bytes / 4) << 4;
  out[at + 13] = h.flags;
  put16(out, at + 14, h.window);
  put16(out, at + 16, 0);
  put16(out, at + 18, 0);
  if (h.mss !== undefined) {
    out[at + 20] = Option.mss;
    out[at + 21] = 4;
    put16(out, at + 22, h.mss);
    out[at + 24] = Option.nop;
    // Without scaling the place holds no-operations.
    const scaled = h.windowScale !== undefined;
    out[at + 25] = scaled ? Option.windowScale : Option.nop;
    out[at + 26] = scaled ? 3 : Option.nop;
    out[at + 27] = h.windowScale ?? Option.nop;
  }
  return at + bytes;
}

/** a - b of sequence numbers, as a signed distance. */
export function seqDiff(a: number, b: number): number {
  return (a - b) | 0;
}

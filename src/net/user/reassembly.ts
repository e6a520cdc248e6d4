/** Puts fragmented IPv4 packets of the guest together again. Source: RFC 791 3.2, RFC 815. */
import { get16 } from "../bytes.js";
import { ETH_HEADER } from "./frames.js";

/** Packets that are being put together; the oldest gives way. */
const MAX_PACKETS = 16;
const MAX_BYTES = 65535;
/** Pieces of 8 bytes. */
const MAX_UNITS = 8192;

interface Partial {
  readonly bytes: Uint8Array;
  readonly have: Uint8Array;
  header: Uint8Array | undefined;
  /** Length of the payload, once the last fragment has come. */
  total: number | undefined;
  units: number;
}

export class Reassembly {
  private readonly packets = new Map<string, Partial>();

  /**
   * Takes a frame with a fragment; header and lengths have been checked. @returns the whole frame once there is one, its
   * header that of the first fragment, without fragment fields and with the total length
   */
  add(frame: Uint8Array, headerBytes: number, end: number): Uint8Array | undefined {
    const ip = ETH_HEADER;
    const key = `${frame.subarray(ip + 12, ip + 20).join(".")} ${get16(frame, ip + 4)} ${frame[ip + 9]}`;
    const field = get16(frame, ip + 6);
    const offset = (field & 0x1fff) * 8;
    const more = (field & 0x2000) !== 0;
    const body = frame.subarray(ip + headerBytes, end);
    if (offset + body.length > MAX_BYTES - headerBytes || (more && body.length % 8 !== 0) || body.length === 0) {
      this.packets.delete(key);
      return undefined;
    }
    let p = this.packets.get(key);
    if (!p) {
      if (this.packets.size >= MAX_PACKETS) this.packets.delete(this.packets.keys().next().value!);
      p = { bytes: new Uint8Array(MAX_BYTES), have: new Uint8Array(MAX_UNITS), header: undefined, total: undefined, units: 0 };
      this.packets.set(key, p);
    }
    p.bytes.set(body, offset);
    for (let u = offset >> 3; u < Math.ceil((offset + body.length) / 8); u++)
      if (!p.have[u]) {
        p.have[u] = 1;
        p.units++;
      }
    if (offset === 0) p.header = frame.slice(0, ip + headerBytes);
    if (!more) p.total = offset + body.length;
    if (!p.header || p.total === undefined || p.units < Math.ceil(p.total / 8)) return undefined;
    this.packets.delete(key);
    const whole = new Uint8Array(p.header.length + p.total);
    whole.set(p.header);
    whole.set(p.bytes.subarray(0, p.total), p.header.length);
    const length = whole.length - ip;
    whole[ip + 2] = length >> 8;
    whole[ip + 3] = length;
    whole[ip + 6] = whole[ip + 7] = 0;
    return whole;
  }

  clear(): void {
    this.packets.clear();
  }
}

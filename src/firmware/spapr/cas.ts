/**
 * client-architecture-support: what a kernel says it can do, and what the machine makes of it.
 * Source: LoPAR §B.6.2.3 (option vectors). Vectors are numbered from 1, bytes in a vector from 1, as there.
 */
import type { AddressSpace } from "../../memory/address-space.js";

/** Entries of the list of processor versions. */
const MAX_VERSIONS = 512;
const VECTORS = 7;

/** Option vector 5: byte and bits. */
export const Vector5 = {
  xive: { byte: 23, mask: 0xc0, exploit: 0x40, either: 0x80 },
  mmu: { byte: 24, mask: 0xc0, radix: 0x40, either: 0x80 },
  radixGtse: { byte: 26, bit: 0x40 },
  /** Bytes of the vector as it is answered. */
  length: 26,
} as const;

/** What the kernel asked for. */
export interface CasRequest {
  /** Pairs of mask and processor version. */
  readonly versions: readonly { readonly mask: number; readonly value: number }[];
  /** Option vectors by number; absent ones are undefined. */
  readonly vectors: readonly (Uint8Array | undefined)[];
}

/** Reads the request at a guest address. @returns undefined when it is not in memory or has no end */
export function readCasRequest(memory: AddressSpace, address: number): CasRequest | undefined {
  const pair = new Uint8Array(8);
  const view = new DataView(pair.buffer);
  const versions: { mask: number; value: number }[] = [];
  let at = address;
  for (;;) {
    if (versions.length >= MAX_VERSIONS || !memory.readBytes(at, pair)) return undefined;
    at += 8;
    const mask = view.getUint32(0);
    const value = view.getUint32(4);
    versions.push({ mask, value });
    // The list ends with an entry whose value has bits outside its mask.
    if ((~mask & value) >>> 0) break;
  }
  const one = new Uint8Array(1);
  const byte = () => {
    if (!memory.readBytes(at++, one)) return -1;
    return one[0]!;
  };
  const count = byte() + 1;
  const vectors: (Uint8Array | undefined)[] = [undefined];
  for (let i = 1; i <= Math.min(count, VECTORS); i++) {
    const length = byte() + 1;
    if (length <= 0) return undefined;
    const vector = new Uint8Array(length);
    if (!memory.readBytes(at, vector)) return undefined;
    at += length;
    vectors.push(vector);
  }
  return { versions, vectors };
}

/** Byte `n` of vector 5; 0 where the kernel's vector is shorter. */
export function vector5Byte(request: CasRequest, n: number): number {
  return request.vectors[5]?.[n - 1] ?? 0;
}

/** Whether the kernel lists a processor version. */
export function acceptsVersion(request: CasRequest, version: number): boolean {
  return request.versions.some(({ mask, value }) => !((~mask & value) >>> 0) && (version & mask) >>> 0 === value);
}

/** Vector 5 as agreed: byte 1 first. */
export function agreedVector5(o: { readonly radix: boolean; readonly gtse: boolean; readonly xive: boolean }): Uint8Array {
  const v = new Uint8Array(Vector5.length);
  if (o.xive) v[Vector5.xive.byte - 1] = Vector5.xive.exploit;
  if (o.radix) v[Vector5.mmu.byte - 1] = Vector5.mmu.radix;
  if (o.gtse) v[Vector5.radixGtse.byte - 1] = Vector5.radixGtse.bit;
  return v;
}

/**
 * RAM in a stream: chunks of pages; zero pages are only a bit, chunks of nothing but zeroes are not there, the others'
 * pages are deflated together.
 *
 *     u32 block | u32 first page | u32 pages | bitmap of the pages that are not zero | deflate of those pages
 */
import { VmError } from "../base/errors.js";
import type { StreamHost } from "../host/stream.js";

export const PAGE = 4096;
/** Pages of a chunk. */
const CHUNK_PAGES = 256;
const HEADER_BYTES = 12;
/** Chunks that are compressed at a time. */
export const CHUNKS_AT_ONCE = 4;

/** A block of guest memory. */
export interface MemoryBlock {
  readonly name: string;
  /** A view: writing to it is writing to the guest's memory. */
  readonly bytes: Uint8Array;
}

function isZero(bytes: Uint8Array): boolean {
  const words = new BigUint64Array(bytes.buffer, bytes.byteOffset, bytes.length / 8);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0n) return false;
  return true;
}

/** What is known of a chunk before it is compressed. */
export interface Chunk {
  readonly block: number;
  readonly first: number;
  readonly pages: number;
  readonly bitmap: Uint8Array;
  /** The pages that are not zero, one after the other. */
  readonly data: Uint8Array;
}

/** The chunks of a block that hold anything. */
export function* chunksOf(block: number, bytes: Uint8Array): Generator<Chunk> {
  const total = bytes.length / PAGE;
  for (let first = 0; first < total; first += CHUNK_PAGES) {
    const pages = Math.min(CHUNK_PAGES, total - first);
    const bitmap = new Uint8Array(Math.ceil(pages / 8));
    const used: Uint8Array[] = [];
    for (let p = 0; p < pages; p++) {
      const page = bytes.subarray((first + p) * PAGE, (first + p + 1) * PAGE);
      if (isZero(page)) continue;
      bitmap[p >> 3]! |= 1 << (p & 7);
      used.push(page);
    }
    if (used.length === 0) continue;
    // A copy, not of shared memory, for the compressor's thread.
    const data = new Uint8Array(used.length * PAGE);
    for (const [i, page] of used.entries()) data.set(page, i * PAGE);
    yield { block, first, pages, bitmap, data };
  }
}

/** A chunk as a section's payload. */
export async function packChunk(chunk: Chunk, host: StreamHost): Promise<Uint8Array> {
  const packed = await host.deflate(chunk.data);
  const out = new Uint8Array(HEADER_BYTES + chunk.bitmap.length + packed.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, chunk.block, true);
  view.setUint32(4, chunk.first, true);
  view.setUint32(8, chunk.pages, true);
  out.set(chunk.bitmap, HEADER_BYTES);
  out.set(packed, HEADER_BYTES + chunk.bitmap.length);
  return out;
}

/** Unpacks a payload. Touches no memory. @throws VmError "migration/bad-stream" */
export async function unpackChunk(payload: Uint8Array, blocks: readonly MemoryBlock[], host: StreamHost): Promise<Chunk> {
  const bad = (what: string): never => {
    throw new VmError("migration/bad-stream", `damaged state: ${what}`);
  };
  if (payload.length < HEADER_BYTES) bad("a chunk of RAM without a header");
  const view = new DataView(payload.buffer, payload.byteOffset, payload.length);
  const block = view.getUint32(0, true);
  const first = view.getUint32(4, true);
  const pages = view.getUint32(8, true);
  const target = blocks[block] ?? bad(`RAM block ${block}`);
  if (pages < 1 || pages > CHUNK_PAGES || (first + pages) * PAGE > target.bytes.length)
    bad(`pages ${first} to ${first + pages - 1} of ${target.name}`);
  const bitmapBytes = Math.ceil(pages / 8);
  if (payload.length < HEADER_BYTES + bitmapBytes) bad("a chunk of RAM without a bitmap");
  const bitmap = payload.subarray(HEADER_BYTES, HEADER_BYTES + bitmapBytes);
  let used = 0;
  for (let p = 0; p < bitmapBytes * 8; p++)
    if (bitmap[p >> 3]! & (1 << (p & 7))) {
      if (p >= pages) bad("a bitmap with too many pages");
      used++;
    }
  let data: Uint8Array;
  try {
    data = await host.inflate(payload.subarray(HEADER_BYTES + bitmapBytes), used * PAGE);
  } catch {
    return bad(`pages from ${first} of ${target.name} do not unpack`);
  }
  if (data.length !== used * PAGE) bad(`pages from ${first} of ${target.name} have ${data.length} bytes`);
  return { block, first, pages, bitmap, data };
}

/** Puts a chunk into memory that is zero. */
export function placeChunk(chunk: Chunk, blocks: readonly MemoryBlock[]): void {
  const { bytes } = blocks[chunk.block]!;
  for (let p = 0, used = 0; p < chunk.pages; p++) {
    if (!(chunk.bitmap[p >> 3]! & (1 << (p & 7)))) continue;
    bytes.set(chunk.data.subarray(used * PAGE, (used + 1) * PAGE), (chunk.first + p) * PAGE);
    used++;
  }
}

/**
 * The container of machine state: a header, then sections, each with its checksum; the last one counts the others and has
 * a checksum over theirs, so that none is missing, doubled or moved.
 *
 *     "TANDEMVM" | u32 version | section ... | section "END "
 *     section: 4 letters | u32 length | u32 CRC-32 of letters, length and payload | payload
 *
 * Numbers are little-endian.
 */
import { crc32 } from "../base/crc32.js";
import { VmError } from "../base/errors.js";
import type { ByteSink, ByteSource } from "../host/stream.js";

const MAGIC = "TANDEMVM";
/** Changes when an older build could misread a newer stream. */
export const STREAM_VERSION = 1;
/** Longest section. */
export const SECTION_LIMIT = 64 * 2 ** 20;
const HEADER_BYTES = 12;
const SECTION_HEADER_BYTES = 12;

export interface Section {
  readonly tag: string;
  readonly payload: Uint8Array;
}

const latin = (text: string) => Uint8Array.from(text, (c) => c.charCodeAt(0));

/** Writes a stream. `begin` first, `end` last. */
export class SectionWriter {
  private count = 0;
  private sum = 0;
  bytes = 0;

  constructor(private readonly sink: ByteSink) {}

  private async put(data: Uint8Array): Promise<void> {
    this.bytes += data.length;
    await this.sink.write(data);
  }

  async begin(): Promise<void> {
    const header = new Uint8Array(HEADER_BYTES);
    header.set(latin(MAGIC));
    new DataView(header.buffer).setUint32(8, STREAM_VERSION, true);
    await this.put(header);
  }

  /** @param tag four letters */
  async section(tag: string, payload: Uint8Array): Promise<void> {
    const whole = new Uint8Array(SECTION_HEADER_BYTES + payload.length);
    const view = new DataView(whole.buffer);
    whole.set(latin(tag));
    view.setUint32(4, payload.length, true);
    const crc = crc32(payload, crc32(whole.subarray(0, 8)));
    view.setUint32(8, crc, true);
    whole.set(payload, SECTION_HEADER_BYTES);
    this.count++;
    this.sum = crc32(whole.subarray(8, 12), this.sum);
    await this.put(whole);
  }

  async end(): Promise<void> {
    const payload = new Uint8Array(8);
    const view = new DataView(payload.buffer);
    view.setUint32(0, this.count, true);
    view.setUint32(4, this.sum, true);
    await this.section("END ", payload);
  }
}

/** Takes exact numbers of bytes out of a source's chunks. */
class Exact {
  private chunk: Uint8Array = new Uint8Array(0);

  constructor(private readonly source: ByteSource) {}

  async take(n: number, what: string): Promise<Uint8Array> {
    const out = new Uint8Array(n);
    for (let have = 0; have < n; ) {
      if (this.chunk.length === 0) {
        const next = await this.source.read();
        if (!next) throw new VmError("migration/bad-stream", `the state ends in the middle: ${what} is cut off`);
        this.chunk = next;
      }
      const part = this.chunk.subarray(0, n - have);
      out.set(part, have);
      this.chunk = this.chunk.subarray(part.length);
      have += part.length;
    }
    return out;
  }
}

/**
 * Reads a stream section by section, to its end; bytes after it are left alone. @throws VmError "migration/bad-stream" for
 * what is not whole and right, before the section in question is given
 */
export async function* readSections(source: ByteSource): AsyncGenerator<Section> {
  const input = new Exact(source);
  const bad = (what: string): never => {
    throw new VmError("migration/bad-stream", what);
  };
  const header = await input.take(HEADER_BYTES, "the header");
  if (!latin(MAGIC).every((b, i) => header[i] === b)) bad("not a state of a Tandem machine");
  const version = new DataView(header.buffer).getUint32(8, true);
  if (version !== STREAM_VERSION) bad(`a state of format ${version}; this version reads format ${STREAM_VERSION}`);
  let count = 0;
  let sum = 0;
  for (;;) {
    const head = await input.take(SECTION_HEADER_BYTES, "a section's header");
    const view = new DataView(head.buffer);
    const tag = String.fromCharCode(...head.subarray(0, 4));
    const length = view.getUint32(4, true);
    if (!/^[A-Z ]{4}$/.test(tag) || length > SECTION_LIMIT) bad(`damaged state: section ${count} has no valid header`);
    const payload = await input.take(length, `section ${tag.trim()}`);
    if (crc32(payload, crc32(head.subarray(0, 8))) !== view.getUint32(8, true))
      bad(`damaged state: section ${count} (${tag.trim()}) has a wrong checksum`);
    if (tag === "END ") {
      const end = new DataView(payload.buffer);
      if (length !== 8 || end.getUint32(0, true) !== count || end.getUint32(4, true) !== sum)
        bad("damaged state: sections are missing or in another order");
      return;
    }
    count++;
    sum = crc32(head.subarray(8, 12), sum);
    yield { tag, payload };
  }
}

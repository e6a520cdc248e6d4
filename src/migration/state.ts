/**
 * A machine's state to a stream and back. Reading has two steps: `receive` checks everything and keeps it, `apply` changes
 * the machine. A stream that is cut off, damaged or of another machine has touched nothing.
 */
import { VmError } from "../base/errors.js";
import type { ByteSink, ByteSource, StreamHost } from "../host/stream.js";
import type { StateValue } from "../hw/core/device.js";
import { decodeState, encodeState } from "./encoding.js";
import { CHUNKS_AT_ONCE, type Chunk, chunksOf, type MemoryBlock, packChunk, placeChunk, unpackChunk } from "./ram-pages.js";
import { readSections, SectionWriter } from "./sections.js";

/** Whose state it is: what a board gives and takes. It stands still meanwhile. */
export interface Snapshotable {
  /** What must be the same on both sides: memory, processors, devices. Plain data. */
  shape(): StateValue;
  /** Guest memory, in a fixed order. */
  memory(): readonly MemoryBlock[];
  /** Declared state by part ("clock", "cpu0", a device's place), in the order in which it is restored. */
  saveParts(): readonly (readonly [part: string, state: StateValue])[];
  /** Before its memory and state come: hardware reset. */
  prepare(): void;
  /** Takes the same back, once memory is in place. */
  restoreParts(parts: ReadonlyMap<string, StateValue>): void;
}

/** How far it is. */
export interface Progress {
  /** Bytes of guest memory: all, gone through, zero; bytes of the stream. */
  totalBytes: number;
  doneBytes: number;
  zeroBytes: number;
  streamBytes: number;
}

export interface SaveOptions {
  readonly host: StreamHost;
  /** Beside the machine's: what the reader wants to know (run state). */
  readonly notes: { [name: string]: StateValue };
  readonly progress?: Progress;
  /** Bytes of a second; waits in between. 0 = as fast as it goes. */
  readonly pace?: (streamBytes: number) => Promise<void>;
  readonly cancelled?: () => boolean;
}

/** Bytes that a stream may have beyond the guest's memory. */
const OVERHEAD_LIMIT = 256 * 2 ** 20;

/** Writes the whole state; the sink is left open. @throws VmError "migration/io" | "aborted" */
export async function saveState(machine: Snapshotable, sink: ByteSink, options: SaveOptions): Promise<void> {
  const { host, progress } = options;
  const writer = new SectionWriter(sink);
  const blocks = machine.memory();
  const section = async (tag: string, payload: Uint8Array) => {
    if (options.cancelled?.()) throw new VmError("aborted", "the migration was cancelled");
    await writer.section(tag, payload);
    if (progress) progress.streamBytes = writer.bytes;
    await options.pace?.(writer.bytes);
  };
  await writer.begin();
  const parts = machine.saveParts();
  await section(
    "HEAD",
    encodeState({
      shape: machine.shape(),
      memory: blocks.map((b): StateValue => [b.name, b.bytes.length]),
      parts: parts.map(([part]) => part),
      notes: options.notes,
    }),
  );
  if (progress) progress.totalBytes = blocks.reduce((sum, b) => sum + b.bytes.length, 0);
  for (const [index, { bytes }] of blocks.entries()) {
    let batch: Chunk[] = [];
    const flush = async () => {
      for (const payload of await Promise.all(batch.map((c) => packChunk(c, host)))) await section("RAM ", payload);
      batch = [];
    };
    let sent = 0;
    for (const chunk of chunksOf(index, bytes)) {
      batch.push(chunk);
      sent += chunk.data.length;
      if (progress) progress.doneBytes += chunk.data.length;
      if (batch.length === CHUNKS_AT_ONCE) await flush();
    }
    await flush();
    if (progress) {
      progress.zeroBytes += bytes.length - sent;
      progress.doneBytes += bytes.length - sent;
    }
  }
  for (const [, state] of parts) await section("PART", encodeState(state));
  await writer.end();
  if (progress) progress.streamBytes = writer.bytes;
}

/** A state that has been read and found whole. */
export interface ReceivedState {
  readonly notes: { readonly [name: string]: StateValue };
  /** Changes the machine. @throws VmError "migration/bad-stream" when a device does not take its state */
  apply(): Promise<void>;
}

/** Reads and checks a state against a machine. @throws VmError "migration/bad-stream" | "migration/mismatch" | "migration/io" */
export async function receiveState(machine: Snapshotable, source: ByteSource, host: StreamHost): Promise<ReceivedState> {
  const blocks = machine.memory();
  const limit = blocks.reduce((sum, b) => sum + b.bytes.length, 0) + OVERHEAD_LIMIT;
  let head: { [name: string]: StateValue } | undefined;
  let names: string[] = [];
  let total = 0;
  const chunks: Uint8Array[] = [];
  const parts = new Map<string, StateValue>();
  const bad = (what: string): never => {
    throw new VmError("migration/bad-stream", `damaged state: ${what}`);
  };
  for await (const { tag, payload } of readSections(source)) {
    total += payload.length;
    if (total > limit) bad(`more than ${limit} bytes`);
    if (!head) {
      if (tag !== "HEAD") bad("it does not begin with what machine it is of");
      head = asObject(decodeState(payload)) ?? bad("its header");
      names = checkHead(head, machine, blocks);
    } else if (tag === "RAM ") {
      // Unpacked to be checked; kept packed, so that the memory is not there twice.
      await unpackChunk(payload, blocks, host);
      chunks.push(payload);
    } else if (tag === "PART") {
      const name = names[parts.size] ?? bad("more parts than it names");
      parts.set(name, decodeState(payload));
    } else bad(`section ${tag.trim()}`);
  }
  if (!head || parts.size !== names.length) return bad("parts are missing");
  return {
    notes: asObject(head.notes!) ?? {},
    apply: async () => {
      machine.prepare();
      for (const b of blocks) b.bytes.fill(0);
      for (const payload of chunks.splice(0)) placeChunk(await unpackChunk(payload, blocks, host), blocks);
      try {
        machine.restoreParts(parts);
      } catch (cause) {
        if (cause instanceof VmError) throw cause;
        throw new VmError("migration/bad-stream", `a device does not take its state: ${cause}`, { cause });
      }
    },
  };
}

function asObject(v: StateValue): { [name: string]: StateValue } | undefined {
  return typeof v === "object" && v !== null && !Array.isArray(v) && !(v instanceof Uint8Array) ? v : undefined;
}

/** @returns the names of the parts @throws VmError "migration/mismatch" */
function checkHead(
  head: { readonly [name: string]: StateValue },
  machine: Snapshotable,
  blocks: readonly MemoryBlock[],
): string[] {
  const here = {
    shape: machine.shape(),
    memory: blocks.map((b): StateValue => [b.name, b.bytes.length]),
    parts: machine.saveParts().map(([part]) => part),
  };
  const there = { shape: head.shape ?? null, memory: head.memory ?? null, parts: head.parts ?? null };
  const found = difference(there, here, "");
  if (found) throw new VmError("migration/mismatch", `the state is of another machine: ${found}`);
  return here.parts;
}

/** The first difference of two values in words; undefined when they are the same. */
export function difference(there: StateValue, here: StateValue, path: string): string | undefined {
  const a = asObject(there);
  const b = asObject(here);
  if (a && b) {
    for (const name of new Set([...Object.keys(a), ...Object.keys(b)])) {
      const found = difference(
        Object.hasOwn(a, name) ? a[name]! : null,
        Object.hasOwn(b, name) ? b[name]! : null,
        path === "" ? name : `${path}.${name}`,
      );
      if (found) return found;
    }
    return undefined;
  }
  if (Array.isArray(there) && Array.isArray(here)) {
    for (let i = 0; i < Math.max(there.length, here.length); i++) {
      const found = difference(there[i] ?? null, here[i] ?? null, `${path}[${i}]`);
      if (found) return found;
    }
    return undefined;
  }
  const text = (v: StateValue) => (v === null ? "nothing" : typeof v === "object" ? "something else" : String(v));
  return Object.is(there, here) ? undefined : `${path} is ${text(there)} there and ${text(here)} here`;
}

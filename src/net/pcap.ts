/**
 * Capture files of a network's frames: `filter-dump`. Source: the classic pcap format of tcpdump.org (magic 0xa1b2c3d4,
 * microseconds, link type 1, Ethernet).
 */
import type { NetBackend } from "./backend.js";
import type { NetHeader } from "./offload.js";

const MAGIC = 0xa1b2c3d4;
const VERSION_MAJOR = 2;
const VERSION_MINOR = 4;
const LINKTYPE_ETHERNET = 1;
export const DEFAULT_MAX_LEN = 65536;

/** The file's header. */
export function pcapHeader(maxLen: number): Uint8Array {
  const b = new Uint8Array(24);
  const v = new DataView(b.buffer);
  v.setUint32(0, MAGIC, true);
  v.setUint16(4, VERSION_MAJOR, true);
  v.setUint16(6, VERSION_MINOR, true);
  v.setUint32(16, maxLen, true);
  v.setUint32(20, LINKTYPE_ETHERNET, true);
  return b;
}

/** One frame of a capture, cut to `maxLen` bytes. */
export function pcapRecord(frame: Uint8Array, wallMs: number, maxLen: number): Uint8Array {
  const kept = Math.min(frame.length, maxLen);
  const b = new Uint8Array(16 + kept);
  const v = new DataView(b.buffer);
  v.setUint32(0, Math.floor(wallMs / 1000), true);
  v.setUint32(4, Math.floor((wallMs % 1000) * 1000), true);
  v.setUint32(8, kept, true);
  v.setUint32(12, frame.length, true);
  b.set(frame.subarray(0, kept), 16);
  return b;
}

/** A network with somebody who listens in both directions. The cable's two ends do not notice. */
export class TappedBackend implements NetBackend {
  private receiver: NetBackend["onReceive"] = () => true;

  constructor(
    readonly inner: NetBackend,
    private readonly record: (frame: Uint8Array) => void,
  ) {
    inner.onReceive = (frame, header) => {
      const taken = this.receiver(frame, header);
      if (taken) this.record(frame);
      return taken;
    };
  }

  get id(): string {
    return this.inner.id;
  }
  get takesOffload(): boolean {
    return this.inner.takesOffload;
  }
  get linkUp(): boolean {
    return this.inner.linkUp;
  }
  get onReceive(): NetBackend["onReceive"] {
    return this.receiver;
  }
  set onReceive(f: NetBackend["onReceive"]) {
    this.receiver = f;
  }
  get canReceive(): NetBackend["canReceive"] {
    return this.inner.canReceive;
  }
  set canReceive(f: NetBackend["canReceive"]) {
    this.inner.canReceive = f;
  }
  get cardOffloads(): NetBackend["cardOffloads"] {
    return this.inner.cardOffloads;
  }
  set cardOffloads(f: NetBackend["cardOffloads"]) {
    this.inner.cardOffloads = f;
  }
  get onLinkChange(): NetBackend["onLinkChange"] {
    return this.inner.onLinkChange;
  }
  set onLinkChange(f: NetBackend["onLinkChange"]) {
    this.inner.onLinkChange = f;
  }

  send(frame: Uint8Array, header?: NetHeader): void {
    this.record(frame);
    this.inner.send(frame, header);
  }
  resume(): void {
    this.inner.resume();
  }
  setRunning(on: boolean): void {
    this.inner.setRunning(on);
  }
  close(): void {
    this.inner.close();
  }
}

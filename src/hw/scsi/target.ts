/**
 * SCSI logical units, apart from how commands reach them: a command gives a plan, and whoever carries it moves the data.
 * Source: SPC-4 (sense, INQUIRY, MODE, REPORT LUNS), SAM-5 (status).
 */
import type { Drive } from "../../block/backend.js";
import { BAD_OPCODE, type Sense } from "../ide/mmc.js";

export const ScsiStatus = { good: 0, checkCondition: 2, busy: 8, taskSetFull: 0x28, taskAborted: 0x40 } as const;

export const Op = {
  testUnitReady: 0x00,
  requestSense: 0x03,
  read6: 0x08,
  write6: 0x0a,
  inquiry: 0x12,
  modeSelect6: 0x15,
  reserve6: 0x16,
  release6: 0x17,
  modeSense6: 0x1a,
  startStop: 0x1b,
  preventRemoval: 0x1e,
  readCapacity10: 0x25,
  read10: 0x28,
  write10: 0x2a,
  verify10: 0x2f,
  synchronizeCache10: 0x35,
  writeSame10: 0x41,
  unmap: 0x42,
  readToc: 0x43,
  getConfiguration: 0x46,
  getEventStatus: 0x4a,
  readDiscInformation: 0x51,
  modeSelect10: 0x55,
  modeSense10: 0x5a,
  read16: 0x88,
  write16: 0x8a,
  verify16: 0x8f,
  synchronizeCache16: 0x91,
  writeSame16: 0x93,
  serviceAction16: 0x9e,
  reportLuns: 0xa0,
  read12: 0xa8,
  write12: 0xaa,
  readDvdStructure: 0xad,
  verify12: 0xaf,
  mechanismStatus: 0xbd,
} as const;

export const WRITE_PROTECTED: Sense = [7, 0x27, 0x00];
export const POWER_ON: Sense = [6, 0x29, 0x00];
export const CAPACITY_CHANGED: Sense = [6, 0x2a, 0x09];
export const IO_ERROR: Sense = [0x0b, 0x00, 0x06];
export const NO_SPACE: Sense = [7, 0x27, 0x07];
export const BAD_LIST: Sense = [5, 0x26, 0x00];
export const SHORT_LIST: Sense = [5, 0x1a, 0x00];

/** What a command leads to. Offsets and sizes in bytes. */
export type ScsiPlan =
  | { readonly kind: "done" }
  | { readonly kind: "sense"; readonly sense: Sense }
  /** Data for the initiator, cut to what it has room for. */
  | { readonly kind: "in"; readonly data: Uint8Array }
  | { readonly kind: "read"; readonly offset: number; readonly size: number }
  | { readonly kind: "write"; readonly offset: number; readonly size: number; readonly fua: boolean }
  | { readonly kind: "flush" }
  | { readonly kind: "discard"; readonly ranges: readonly { readonly offset: number; readonly size: number }[] }
  | { readonly kind: "fill"; readonly offset: number; readonly size: number; readonly pattern: Uint8Array }
  /** A parameter list comes first; then it is known what to do. */
  | { readonly kind: "list"; readonly size: number; readonly next: (list: Uint8Array) => ScsiPlan };

export const DONE: ScsiPlan = { kind: "done" };
export const sense = (s: Sense): ScsiPlan => ({ kind: "sense", sense: s });

/** A logical unit on a bus. */
export interface ScsiUnit {
  readonly target: number;
  readonly lun: number;
  readonly drive: Drive;
  /** Writes are on stable storage when they complete. */
  readonly writethrough: boolean;
  /** Begins a command; `cdb` has at least 16 bytes. */
  command(cdb: Uint8Array): ScsiPlan;
  reset(): void;
  save(): { readonly [name: string]: unknown };
  restore(state: { readonly [name: string]: unknown }): void;
  /** Tells the bus that the medium or the size changed. */
  onChange: ((sense: Sense) => void) | undefined;
}

export const put16 = (v: number): number[] => [(v >>> 8) & 255, v & 255];
export const put32 = (v: number): number[] => [(v >>> 24) & 255, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];
export const put64 = (v: number): number[] => [...put32(Math.floor(v / 2 ** 32)), ...put32(v >>> 0)];
export const be64 = (b: Uint8Array, at: number): number =>
  (((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0) * 2 ** 32 +
  (((b[at + 4]! << 24) | (b[at + 5]! << 16) | (b[at + 6]! << 8) | b[at + 7]!) >>> 0);
export const ascii = (text: string, length: number): number[] =>
  Array.from({ length }, (_, i) => (i < text.length ? text.charCodeAt(i) & 0x7f : 0x20));

/** A command nobody knows. */
export const UNKNOWN: ScsiPlan = sense(BAD_OPCODE);

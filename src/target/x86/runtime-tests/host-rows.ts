/**
 * Rows captured from a real processor (AMD family 1Ah model 2), one a line: instruction, state before, "->", state after. They keep the
 * tests meaningful where there is no x86 host. Captured again by capture-rows.ts.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import {
  AT_FLAGS,
  AT_IMAGE,
  AT_MEMORY,
  AT_MXCSR_IN,
  AT_RAX_IN,
  AT_RDX,
  AT_XMM0,
  KIND_SSE,
  KIND_X87,
  RECORD,
} from "./host-oracle.js";
import type { SseCase, SseResult } from "./sse-cases.js";
import type { Value80, X87Case, X87Result } from "./x87-cases.js";

export const rowsFile = (name: string) => fileURLToPath(new URL(`./rows-${name}.txt`, import.meta.url));

export interface Row {
  name: string;
  before: string[];
  after: string[];
}

export function readRows(name: string): Row[] {
  return readFileSync(rowsFile(name), "utf8")
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => {
      const [title = "", before = "", after = ""] = line.split(/ \| | -> /);
      return { name: title, before: before.split(" "), after: after.split(" ") };
    });
}

const fromHex = (text: string) => Uint8Array.from(text.match(/../g) ?? [], (byte) => Number.parseInt(byte, 16));
const number = (text: string | undefined) => Number.parseInt(text ?? "0", 16);
const big = (text: string | undefined) => BigInt(`0x${text ?? "0"}`);
const show80 = ([sig, se]: Value80) => `${se.toString(16)}:${sig.toString(16)}`;

/** Control, status, tag word, flags, memory operand, ST(0), ST(1); ST(2)..ST(7) are 1.0 before. */
export function x87Fields(x: X87Result): string[] {
  const words = [x.fcw, x.fsw, x.tags, x.flags].map((n) => n.toString(16));
  return [...words, x.memory, show80(x.st[0] as Value80), show80(x.st[1] as Value80)];
}

/** The request of a row. */
export function x87RowRequest(c: X87Case, fields: string[]): Uint8Array {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  record[0] = KIND_X87;
  record[1] = 2;
  record.set(c.bytes, 2);
  view.setUint32(AT_IMAGE, number(fields[0]), true);
  view.setUint32(AT_IMAGE + 4, number(fields[1]), true);
  view.setUint32(AT_IMAGE + 8, number(fields[2]), true);
  view.setUint32(AT_FLAGS, 0x202 | number(fields[3]), true);
  record.set(fromHex(fields[4] ?? ""), AT_MEMORY);
  for (let i = 0; i < 8; i++) {
    const [se, sig] = i < 2 ? (fields[5 + i] ?? "").split(":") : ["3fff", "8000000000000000"];
    view.setBigUint64(AT_IMAGE + 28 + i * 10, big(sig), true);
    view.setUint16(AT_IMAGE + 36 + i * 10, number(se), true);
  }
  return record;
}

/** MXCSR, XMM0, XMM1, RAX, RDX of a request. */
export function sseInput(record: Uint8Array): string[] {
  const view = new DataView(record.buffer, record.byteOffset, record.byteLength);
  const hex = (at: number) => Array.from(record.subarray(at, at + 16), (b) => b.toString(16).padStart(2, "0")).join("");
  return [
    view.getUint32(AT_MXCSR_IN, true).toString(16),
    hex(AT_XMM0),
    hex(AT_XMM0 + 16),
    view.getBigUint64(AT_RAX_IN, true).toString(16),
    view.getBigUint64(AT_RDX, true).toString(16),
  ];
}

export function sseRowRequest(c: SseCase, fields: string[]): Uint8Array {
  const record = new Uint8Array(RECORD);
  const view = new DataView(record.buffer);
  record[0] = KIND_SSE;
  record[1] = c.bytes.length;
  record.set(c.bytes, 2);
  view.setUint32(AT_FLAGS, 0x202, true);
  view.setUint32(AT_MXCSR_IN, number(fields[0]), true);
  record.set(fromHex(fields[1] ?? ""), AT_XMM0);
  record.set(fromHex(fields[2] ?? ""), AT_XMM0 + 16);
  view.setBigUint64(AT_RAX_IN, big(fields[3]), true);
  view.setBigUint64(AT_RDX, big(fields[4]), true);
  return record;
}

/** MXCSR, then "fault" or XMM0, RAX, RCX, flags. */
export function sseFields(x: SseResult): string[] {
  const mxcsr = x.mxcsr.toString(16);
  return x.fault >= 0 ? [mxcsr, "fault"] : [mxcsr, x.xmm0, x.rax.toString(16), x.rcx.toString(16), x.flags.toString(16)];
}

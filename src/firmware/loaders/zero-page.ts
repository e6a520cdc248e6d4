/**
 * The zero page (boot_params), by which a boot loader tells Linux about the machine.
 * Source: Linux, Documentation/arch/x86/zero-page.rst and boot.rst (offsets and meanings).
 */
import { encodeText } from "../bytes.js";
import type { E820Entry } from "../e820.js";

export const ZERO_PAGE_BYTES = 4096;

/** Offsets in the zero page. */
const ZeroPage = {
  screenInfo: 0x00,
  acpiRsdp: 0x70,
  e820Count: 0x1e8,
  setupHeader: 0x1f1,
  e820: 0x2d0,
} as const;

/** Entries the page holds. */
export const ZERO_PAGE_E820_MAX = 128;

/** Offsets of setup header fields, the same in a bzImage file and in the zero page. */
export const SetupHeader = {
  setupSects: 0x1f1,
  syssize: 0x1f4,
  vidMode: 0x1fa,
  bootFlag: 0x1fe,
  jumpOffset: 0x201,
  magic: 0x202,
  version: 0x206,
  kernelVersion: 0x20e,
  typeOfLoader: 0x210,
  loadFlags: 0x211,
  code32Start: 0x214,
  ramdiskImage: 0x218,
  ramdiskSize: 0x21c,
  heapEndPtr: 0x224,
  cmdLinePtr: 0x228,
  initrdAddrMax: 0x22c,
  kernelAlignment: 0x230,
  relocatable: 0x234,
  xloadFlags: 0x236,
  cmdlineSize: 0x238,
  payloadOffset: 0x248,
  payloadLength: 0x24c,
  prefAddress: 0x258,
  initSize: 0x260,
} as const;

/** Bits of `loadFlags`. */
export const LoadFlag = { loadedHigh: 0x01, canUseHeap: 0x80 } as const;
/** Bits of `xloadFlags`. */
export const XloadFlag = { kernel64: 0x01 } as const;

/** Text mode 3 as the VGA BIOS leaves it: 80 by 25, 16 lines a character, a VGA. */
const TEXT_MODE = { mode: 3, columns: 80, lines: 25, isVga: 1, points: 16 };

/** What goes into the page. */
export interface ZeroPageContents {
  /** Bytes of the setup header from offset 0x1f1 of the file. */
  readonly setupHeader: Uint8Array;
  readonly map: readonly E820Entry[];
  readonly commandLineAddress: number;
  readonly initrd?: { readonly base: number; readonly length: number } | undefined;
  readonly code32Start: number;
  readonly rsdpAddress?: number | undefined;
  readonly vgaText: boolean;
}

/** Loader type "undefined" (0xff) asks for nothing special. */
export const LOADER_TYPE_UNDEFINED = 0xff;

/** Builds the page. */
export function zeroPage(c: ZeroPageContents): Uint8Array {
  const page = new Uint8Array(ZERO_PAGE_BYTES);
  const view = new DataView(page.buffer);
  if (c.vgaText) {
    page[ZeroPage.screenInfo + 0x06] = TEXT_MODE.mode;
    page[ZeroPage.screenInfo + 0x07] = TEXT_MODE.columns;
    page[ZeroPage.screenInfo + 0x0e] = TEXT_MODE.lines;
    page[ZeroPage.screenInfo + 0x0f] = TEXT_MODE.isVga;
    page[ZeroPage.screenInfo + 0x10] = TEXT_MODE.points;
  }
  if (c.rsdpAddress !== undefined) view.setUint32(ZeroPage.acpiRsdp, c.rsdpAddress, true);
  page.set(c.setupHeader.subarray(0, ZeroPage.e820 - ZeroPage.setupHeader), ZeroPage.setupHeader);
  page[SetupHeader.typeOfLoader] = LOADER_TYPE_UNDEFINED;
  view.setUint32(SetupHeader.cmdLinePtr, c.commandLineAddress, true);
  view.setUint32(SetupHeader.code32Start, c.code32Start, true);
  view.setUint32(SetupHeader.ramdiskImage, c.initrd?.base ?? 0, true);
  view.setUint32(SetupHeader.ramdiskSize, c.initrd?.length ?? 0, true);
  const entries = c.map.slice(0, ZERO_PAGE_E820_MAX);
  page[ZeroPage.e820Count] = entries.length;
  entries.forEach((e, i) => {
    const at = ZeroPage.e820 + 20 * i;
    view.setUint32(at, e.base % 2 ** 32, true);
    view.setUint32(at + 4, Math.floor(e.base / 2 ** 32), true);
    view.setUint32(at + 8, e.length % 2 ** 32, true);
    view.setUint32(at + 12, Math.floor(e.length / 2 ** 32), true);
    view.setUint32(at + 16, e.type, true);
  });
  return page;
}

/** A command line as bytes with its final NUL. */
export function commandLineBytes(commandLine: string): Uint8Array {
  return encodeText(commandLine, true);
}

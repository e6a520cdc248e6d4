/** Registers, status bits and commands of the 82078. Source: Intel 82078 datasheet (290474) §2.1, §5.1, §6. */

/** Offsets from 0x3f0. */
export const FdcReg = { sra: 0, srb: 1, dor: 2, tdr: 3, msr: 4, dsr: 4, fifo: 5, dir: 7, ccr: 7 } as const;

export const Dor = { select: 0x03, notReset: 0x04, dmaGate: 0x08, motors: 0xf0 } as const;
export const Msr = { commandBusy: 0x10, nonDma: 0x20, toHost: 0x40, request: 0x80 } as const;
export const Dsr = { rate: 0x03, powerDown: 0x40, reset: 0x80 } as const;

export const St0 = {
  abnormal: 0x40,
  invalid: 0x80,
  readyChanged: 0xc0,
  seekEnd: 0x20,
  equipmentCheck: 0x10,
  head: 0x04,
} as const;
export const St1 = {
  endOfCylinder: 0x80,
  overrun: 0x10,
  noData: 0x04,
  notWritable: 0x02,
  missingMark: 0x01,
  dataError: 0x20,
} as const;
export const St2 = { controlMark: 0x40, wrongCylinder: 0x10, dataError: 0x20 } as const;
export const St3 = { writeProtected: 0x40, always: 0x28, track0: 0x10, head: 0x04 } as const;

export const Config = { impliedSeek: 0x40, fifoOff: 0x20, pollingOff: 0x10, threshold: 0x0f } as const;

/** What a command byte starts. */
export type CommandName =
  | "read-track"
  | "specify"
  | "sense-drive"
  | "write"
  | "read"
  | "recalibrate"
  | "sense-interrupt"
  | "write-deleted"
  | "read-id"
  | "read-deleted"
  | "format"
  | "dumpreg"
  | "seek"
  | "version"
  | "scan"
  | "perpendicular"
  | "configure"
  | "lock"
  | "verify"
  | "power-down-mode"
  | "part-id"
  | "relative-seek"
  | "option"
  | "drive-specification"
  | "save"
  | "restore"
  | "invalid";

/** A row: a command byte matches when `byte & mask === value`; `length` counts all bytes of the command phase. */
interface Row {
  readonly value: number;
  readonly mask: number;
  readonly name: CommandName;
  readonly length: number;
}

const row = (value: number, mask: number, name: CommandName, length: number): Row => ({ value, mask, name, length });

/** §5.1. MT, MFM and SK are left out of the masks where they are options. The first match counts. */
const COMMANDS: readonly Row[] = [
  row(0x02, 0x9f, "read-track", 9),
  row(0x03, 0xff, "specify", 3),
  row(0x04, 0xff, "sense-drive", 2),
  row(0x05, 0x3f, "write", 9),
  row(0x06, 0x1f, "read", 9),
  row(0x07, 0xff, "recalibrate", 2),
  row(0x08, 0xff, "sense-interrupt", 1),
  row(0x09, 0x3f, "write-deleted", 9),
  row(0x0a, 0xbf, "read-id", 2),
  row(0x0c, 0x1f, "read-deleted", 9),
  row(0x0d, 0xbf, "format", 6),
  row(0x8e, 0xff, "drive-specification", 7),
  row(0x0e, 0xff, "dumpreg", 1),
  row(0x2e, 0xff, "save", 1),
  row(0x4e, 0xff, "restore", 17),
  row(0x0f, 0xff, "seek", 3),
  row(0x8f, 0xbf, "relative-seek", 3),
  row(0x10, 0xff, "version", 1),
  row(0x11, 0x1f, "scan", 9),
  row(0x19, 0x1f, "scan", 9),
  row(0x1d, 0x1f, "scan", 9),
  row(0x12, 0xff, "perpendicular", 2),
  row(0x13, 0xff, "configure", 4),
  row(0x14, 0x7f, "lock", 1),
  row(0x16, 0x1f, "verify", 9),
  row(0x17, 0xff, "power-down-mode", 2),
  row(0x18, 0xff, "part-id", 1),
  row(0x33, 0xff, "option", 2),
];

const INVALID: Row = row(0, 0, "invalid", 1);

/** The command that a byte starts. */
export function commandOf(byte: number): { readonly name: CommandName; readonly length: number } {
  return COMMANDS.find((c) => (byte & c.mask) === c.value) ?? INVALID;
}

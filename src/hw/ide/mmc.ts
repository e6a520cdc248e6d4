/**
 * The commands of a CD/DVD-ROM drive that answer with a block of data, and its sense data: no I/O, no state of its own.
 * Source: SFF-8020i rev. 2.6, MMC-3 (INCITS 360) §6, SPC-2 §7.20 (sense).
 */

/** Blocks a CD holds (80 minutes of 75 frames a second); more is a DVD. */
const CD_MAX_BLOCKS = 80 * 60 * 75;
/** Bytes a block. */
export const CD_BLOCK = 2048;

/** Key, additional sense code and qualifier. */
export type Sense = readonly [key: number, asc: number, ascq: number];

export const SenseKey = { none: 0, notReady: 2, mediumError: 3, hardware: 4, illegalRequest: 5, unitAttention: 6 } as const;
export const NO_SENSE: Sense = [SenseKey.none, 0, 0];
export const NO_MEDIUM: Sense = [SenseKey.notReady, 0x3a, 0x00];
export const MEDIUM_CHANGED: Sense = [SenseKey.unitAttention, 0x28, 0x00];
export const READ_ERROR: Sense = [SenseKey.mediumError, 0x11, 0x00];
export const BAD_OPCODE: Sense = [SenseKey.illegalRequest, 0x20, 0x00];
export const BAD_ADDRESS: Sense = [SenseKey.illegalRequest, 0x21, 0x00];
export const BAD_FIELD: Sense = [SenseKey.illegalRequest, 0x24, 0x00];
export const NO_SAVING: Sense = [SenseKey.illegalRequest, 0x39, 0x00];
export const BAD_TRACK_MODE: Sense = [SenseKey.illegalRequest, 0x64, 0x00];
export const BAD_FORMAT: Sense = [SenseKey.illegalRequest, 0x30, 0x02];
export const removalPrevented = (loaded: boolean): Sense => [loaded ? SenseKey.notReady : SenseKey.illegalRequest, 0x53, 0x02];

/** What there is to tell of the drive. */
export interface CdView {
  /** Blocks of the medium, 0 without one. */
  readonly blocks: number;
  readonly loaded: boolean;
  readonly trayOpen: boolean;
  readonly locked: boolean;
}

/** A reply: data, or what is wrong with the command. */
export type Reply = Uint8Array | { readonly sense: Sense };

const refuse = (sense: Sense): Reply => ({ sense });

/** Whether a medium of so many blocks is a DVD. */
export function isDvd(blocks: number): boolean {
  return blocks > CD_MAX_BLOCKS;
}

export function be16(b: Uint8Array, at: number): number {
  return (b[at]! << 8) | b[at + 1]!;
}

export function be32(b: Uint8Array, at: number): number {
  return ((b[at]! << 24) | (b[at + 1]! << 16) | (b[at + 2]! << 8) | b[at + 3]!) >>> 0;
}

const put16 = (value: number) => [(value >> 8) & 255, value & 255];
const put32 = (value: number) => [(value >>> 24) & 255, (value >>> 16) & 255, (value >>> 8) & 255, value & 255];

/** Minute, second, frame of a block. */
function msf(lba: number): [number, number, number] {
  const frames = lba + 150;
  return [Math.floor(frames / 4500) & 255, Math.floor(frames / 75) % 60, frames % 75];
}

function address(lba: number, asMsf: boolean): number[] {
  return asMsf ? [0, ...msf(lba)] : put32(lba);
}

const ascii = (text: string, length: number) => Array.from({ length }, (_, i) => (i < text.length ? text.charCodeAt(i) : 0x20));

/** Sense data, fixed format. */
export function senseData(sense: Sense): Uint8Array {
  const b = new Uint8Array(18);
  b[0] = 0x70;
  b[2] = sense[0];
  b[7] = 10;
  b[12] = sense[1];
  b[13] = sense[2];
  return b;
}

/** INQUIRY: standard data and the vital product data pages 00, 80, 83. */
export function inquiry(packet: Uint8Array, name: { vendor: string; product: string; revision: string; serial: string }): Reply {
  const page = packet[2]!;
  if (!(packet[1]! & 1)) {
    if (page !== 0) return refuse(BAD_FIELD);
    return Uint8Array.from([
      0x05,
      0x80,
      0x00,
      0x21,
      31,
      0,
      0,
      0,
      ...ascii(name.vendor, 8),
      ...ascii(name.product, 16),
      ...ascii(name.revision, 4),
    ]);
  }
  const vpd = (body: number[]) => Uint8Array.from([0x05, page, ...put16(body.length), ...body]);
  switch (page) {
    case 0x00:
      return vpd([0x00, 0x80, 0x83]);
    case 0x80:
      return vpd(ascii(name.serial, 20));
    case 0x83:
      return vpd([0x02, 0x00, 0, 20, ...ascii(name.serial, 20)]);
    default:
      return refuse(BAD_FIELD);
  }
}

/** READ CAPACITY. */
export function readCapacity(cd: CdView): Reply {
  return Uint8Array.from([...put32(cd.blocks - 1), ...put32(CD_BLOCK)]);
}

/** READ TOC/PMA/ATIP, formats 0 to 2; the disc has one data track. */
export function readToc(packet: Uint8Array, cd: CdView): Reply {
  const asMsf = (packet[1]! & 2) !== 0;
  // Old hosts give the format in the control byte.
  const format = packet[2]! & 15 || packet[9]! >> 6;
  const start = packet[6]!;
  const track = (number: number, lba: number) => [0, 0x14, number, 0, ...address(lba, asMsf)];
  switch (format) {
    case 0: {
      if (start > 1 && start !== 0xaa) return refuse(BAD_FIELD);
      const body = [...(start <= 1 ? track(1, 0) : []), ...track(0xaa, cd.blocks)];
      return Uint8Array.from([...put16(body.length + 2), 1, 1, ...body]);
    }
    case 1:
      return Uint8Array.from([0, 10, 1, 1, 0, 0x14, 1, 0, ...address(0, asMsf)]);
    case 2: {
      const row = (point: number, p: number[]) => [1, 0x14, 0, point, 0, 0, 0, ...p];
      // In a raw TOC the lead-out and track start are always times.
      const lead = [0, ...msf(cd.blocks)];
      const body = [...row(0xa0, [0, 1, 0, 0]), ...row(0xa1, [0, 1, 0, 0]), ...row(0xa2, lead), ...row(1, [0, ...msf(0)])];
      return Uint8Array.from([...put16(body.length + 2), 1, 1, ...body]);
    }
    default:
      return refuse(BAD_FIELD);
  }
}

const PROFILE_CD_ROM = 0x0008;
const PROFILE_DVD_ROM = 0x0010;

/** GET CONFIGURATION. */
export function getConfiguration(packet: Uint8Array, cd: CdView): Reply {
  const rt = packet[1]! & 3;
  const first = be16(packet, 2);
  if (rt === 3) return refuse(BAD_FIELD);
  const profile = !cd.loaded ? 0 : isDvd(cd.blocks) ? PROFILE_DVD_ROM : PROFILE_CD_ROM;
  const dvd = profile === PROFILE_DVD_ROM;
  const cdrom = profile === PROFILE_CD_ROM;
  /** Code, version, persistent, current, data. */
  const features: [number, number, boolean, boolean, number[]][] = [
    [0x0000, 0, true, true, [...put16(PROFILE_DVD_ROM), dvd ? 1 : 0, 0, ...put16(PROFILE_CD_ROM), cdrom ? 1 : 0, 0]],
    // Core: ATAPI, device busy event.
    [0x0001, 2, true, true, [...put32(2), 1, 0, 0, 0]],
    // Morphing, asynchronous events off.
    [0x0002, 1, true, true, [0, 0, 0, 0]],
    // Removable medium: tray, eject, lock.
    [0x0003, 0, true, true, [0x29, 0, 0, 0]],
    [0x0010, 0, false, cd.loaded, [...put32(CD_BLOCK), ...put16(16), 0, 0]],
    [0x001d, 0, false, cd.loaded, []],
    [0x001e, 2, false, cdrom, [0, 0, 0, 0]],
    [0x001f, 0, false, dvd, []],
    [0x0100, 0, true, true, []],
    [0x0105, 0, true, true, []],
  ];
  const body: number[] = [];
  for (const [code, version, persistent, current, bytes] of features) {
    if (rt === 2 ? code !== first : code < first || (rt === 1 && !current)) continue;
    body.push(...put16(code), (version << 2) | (persistent ? 2 : 0) | (current ? 1 : 0), bytes.length, ...bytes);
  }
  return Uint8Array.from([...put32(body.length + 4), 0, 0, ...put16(profile), ...body]);
}

/** What has happened since GET EVENT STATUS NOTIFICATION was last asked. */
export type MediaEvent = "none" | "eject-request" | "new-media" | "media-removal";
const MEDIA_EVENT: Record<MediaEvent, number> = { none: 0, "eject-request": 1, "new-media": 2, "media-removal": 3 };
const CLASS_MEDIA = 4;

/** GET EVENT STATUS NOTIFICATION, polled only. @returns the reply, and whether it told the media event */
export function getEventStatus(packet: Uint8Array, cd: CdView, event: MediaEvent): { reply: Reply; told: boolean } {
  if (!(packet[1]! & 1)) return { reply: refuse(BAD_FIELD), told: false };
  const supported = 1 << CLASS_MEDIA;
  if (!(packet[4]! & supported)) return { reply: Uint8Array.from([0, 2, 0x80, supported]), told: false };
  const status = (cd.trayOpen ? 1 : 0) | (cd.loaded ? 2 : 0);
  return { reply: Uint8Array.from([0, 6, CLASS_MEDIA, supported, MEDIA_EVENT[event], status, 0, 0]), told: be16(packet, 7) > 4 };
}

/** MECHANISM STATUS. */
export function mechanismStatus(cd: CdView): Reply {
  return Uint8Array.from([0, cd.trayOpen ? 0x10 : 0, 0, 0, 0, 1, 0, 0]);
}

/** READ DISC INFORMATION: complete, one session of one track. */
export function readDiscInformation(packet: Uint8Array): Reply {
  if ((packet[1]! & 7) !== 0) return refuse(BAD_FIELD);
  const b = new Uint8Array(34);
  b.set([0, 32, 0x0e, 1, 1, 1, 1, 0x20, 0x00]);
  return b;
}

/** READ TRACK INFORMATION. */
export function readTrackInformation(packet: Uint8Array, cd: CdView): Reply {
  const kind = packet[1]! & 3;
  const at = be32(packet, 2);
  if (kind === 0 ? at >= cd.blocks : at !== 1) return refuse(BAD_FIELD);
  const b = new Uint8Array(36);
  b.set([0, 34, 1, 1, 0, 0x04, 0x01, 0]);
  b.set(put32(cd.blocks), 24);
  return b;
}

/** READ DVD STRUCTURE: physical format, copyright, manufacturer, and the list of these. */
export function readDvdStructure(packet: Uint8Array, cd: CdView): Reply {
  if (packet[1]! & 15 || packet[6]! !== 0) return refuse(BAD_FIELD);
  const format = packet[7]!;
  if (format !== 0xff && !isDvd(cd.blocks)) return refuse(BAD_FORMAT);
  const reply = (body: Uint8Array | number[]) => Uint8Array.from([...put16(body.length + 2), 0, 0, ...body]);
  switch (format) {
    case 0x00: {
      const body = new Uint8Array(2048);
      const start = 0x30000;
      body.set([0x01, 0x0f, 0x01, 0x00, ...put32(start), ...put32(start + cd.blocks - 1), ...put32(0)]);
      return reply(body);
    }
    case 0x01:
      return reply([0, 0, 0, 0]);
    case 0x04:
      return reply(new Uint8Array(2048));
    case 0xff:
      return reply([0x00, 0x40, ...put16(2048 + 4), 0x01, 0x40, ...put16(4 + 4), 0x04, 0x40, ...put16(2048 + 4)]);
    default:
      return refuse(BAD_FIELD);
  }
}

const PAGE_ERROR_RECOVERY = 0x01;
const PAGE_AUDIO = 0x0e;
const PAGE_POWER = 0x1a;
const PAGE_CAPABILITIES = 0x2a;

function modePage(page: number, cd: CdView, changeable: boolean): number[] | undefined {
  const body = (length: number, bytes: number[]) => [
    page,
    length,
    ...Array.from({ length }, (_, i) => (changeable ? 0 : (bytes[i] ?? 0))),
  ];
  switch (page) {
    case PAGE_ERROR_RECOVERY:
      return body(6, [0, 5]);
    case PAGE_AUDIO:
      return body(14, [4, 0, 0, 0, 0, 0, 1, 0xff, 2, 0xff]);
    case PAGE_POWER:
      return body(10, []);
    case PAGE_CAPABILITIES:
      return body(20, [
        // Reads CD-R, CD-RW, DVD-ROM; writes nothing.
        0x3b,
        0x00,
        // Mode 2, multi-session.
        0x70,
        0x00,
        // Tray, eject, lock; the lock's state.
        0x29 | (cd.locked ? 0x02 : 0),
        0x00,
        // Speeds: 50x of 176.4 kB/s.
        ...put16(706),
        ...put16(2),
        ...put16(512),
        ...put16(706),
      ]);
    default:
      return undefined;
  }
}

/** MODE SENSE (6) and (10). */
export function modeSense(packet: Uint8Array, cd: CdView): Reply {
  const control = packet[2]! >> 6;
  const page = packet[2]! & 0x3f;
  if (control === 3) return refuse(NO_SAVING);
  const pages = page === 0x3f ? [PAGE_ERROR_RECOVERY, PAGE_AUDIO, PAGE_POWER, PAGE_CAPABILITIES] : [page];
  const body: number[] = [];
  for (const p of pages) {
    const bytes = modePage(p, cd, control === 1);
    if (!bytes) return refuse(BAD_FIELD);
    body.push(...bytes);
  }
  // Medium type as drives of that time had it: door open, no disc, 120 mm data disc.
  const medium = cd.trayOpen ? 0x71 : cd.loaded ? 0x01 : 0x70;
  return packet[0] === 0x1a
    ? Uint8Array.from([body.length + 3, medium, 0, 0, ...body])
    : Uint8Array.from([...put16(body.length + 6), medium, 0, 0, 0, 0, 0, ...body]);
}

/** A data block as READ CD gives it raw: sync, header, data, error correction left zero. */
export function rawSector(lba: number, user: Uint8Array, out: Uint8Array): void {
  out.fill(0);
  out.fill(0xff, 1, 11);
  const bcd = (n: number) => ((Math.floor(n / 10) << 4) | (n % 10)) & 255;
  out.set([...msf(lba).map(bcd), 1], 12);
  out.set(user, 16);
}

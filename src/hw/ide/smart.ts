/**
 * SMART as a healthy disk has it: attributes, thresholds, empty logs, self-tests that pass at once.
 * Source: ATA/ATAPI-5 §8.41; attribute layout as in SFF-8035i r2.
 */
/** Subcommands, in the features register. */
export const Smart = {
  readData: 0xd0,
  readThresholds: 0xd1,
  autosave: 0xd2,
  saveAttributes: 0xd3,
  offlineImmediate: 0xd4,
  readLog: 0xd5,
  enable: 0xd8,
  disable: 0xd9,
  returnStatus: 0xda,
  autoOffline: 0xdb,
} as const;

/** Id, flags, value, raw, threshold. */
const ATTRIBUTES: readonly (readonly [id: number, flags: number, value: number, raw: number, threshold: number])[] = [
  [0x01, 0x0003, 100, 0, 6],
  [0x03, 0x0003, 100, 16, 0],
  [0x04, 0x0002, 100, 100, 20],
  [0x05, 0x0003, 100, 0, 36],
  [0x09, 0x0003, 100, 1, 0],
  [0x0c, 0x0003, 100, 0, 0],
  [0xbe, 0x0003, 69, 31, 50],
];
const ENTRY = 12;

function seal(bytes: Uint8Array): Uint8Array {
  let sum = 0;
  for (let i = 0; i < 511; i++) sum += bytes[i]!;
  bytes[511] = -sum & 0xff;
  return bytes;
}

/** SMART READ DATA. */
export function smartData(autosave: boolean): Uint8Array {
  const b = new Uint8Array(512);
  b[0] = 1;
  ATTRIBUTES.forEach(([id, flags, value, raw], i) => {
    b.set([id, flags & 255, flags >> 8, value, value, raw], 2 + ENTRY * i);
  });
  b[362] = autosave ? 0x82 : 0x02;
  b[364] = 288 & 255;
  b[365] = 288 >> 8;
  b[367] = 0x19;
  b[368] = 0x03;
  b[370] = 0x01;
  b[372] = 2;
  b[373] = 54;
  return seal(b);
}

/** SMART READ THRESHOLDS. */
export function smartThresholds(): Uint8Array {
  const b = new Uint8Array(512);
  b[0] = 1;
  ATTRIBUTES.forEach(([id, , , , threshold], i) => {
    b.set([id, threshold], 2 + ENTRY * i);
  });
  return seal(b);
}

/** SMART READ LOG: directory, error log summary, self-test log; undefined for others. */
export function smartLog(address: number): Uint8Array | undefined {
  const b = new Uint8Array(512);
  switch (address) {
    case 0x00:
      b[0] = 1;
      b[2 * 0x01] = 1;
      b[2 * 0x06] = 1;
      return b;
    case 0x01:
      b[0] = 1;
      return seal(b);
    case 0x06:
      b[0] = 1;
      return seal(b);
    default:
      return undefined;
  }
}

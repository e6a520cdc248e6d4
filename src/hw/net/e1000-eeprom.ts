/**
 * The Microwire EEPROM of a gigabit card: 64 words, read bit by bit through EECD or by word through EERD.
 * Source: Intel 317453, §5.3 (access), §5.6 (map); Microwire 93C46 instruction set.
 * Not emulated: writing (the device answers as one that is write-protected).
 */

const WORDS = 64;
const ADDRESS_BITS = 6;
/** The words add up to this. */
const SUM = 0xbaba;
const CHECKSUM_WORD = 0x3f;
/** EECD. */
const Eecd = { clock: 1, select: 2, dataIn: 4, dataOut: 8, request: 0x40, grant: 0x80, present: 0x100 } as const;
const OPCODE_READ = 2;
/** EERD. */
const Eerd = { start: 1, done: 0x10, addressShift: 8, dataShift: 16 } as const;

export interface EepromIds {
  readonly mac: Uint8Array;
  readonly vendor: number;
  readonly device: number;
  readonly subsystemVendor: number;
  readonly subsystem: number;
}

/** Words by their number in the manual's map. */
export function eepromWords(ids: EepromIds): Uint16Array {
  const w = new Uint16Array(WORDS).fill(0xffff);
  for (let i = 0; i < 3; i++) w[i] = ids.mac[2 * i]! | (ids.mac[2 * i + 1]! << 8);
  w[0x03] = 0;
  w[0x05] = 0;
  // Board number.
  w[0x08] = 0x3000;
  w[0x09] = 0x1000;
  // Initialization control 1: load ids from here; 2: auto-negotiation.
  w[0x0a] = 0x6403;
  w[0x0b] = ids.subsystem;
  w[0x0c] = ids.subsystemVendor;
  w[0x0d] = ids.device;
  w[0x0e] = ids.vendor;
  w[0x0f] = 0x3040;
  // No management, no wake-up.
  w[0x14] = w[0x24] = 0;
  w[CHECKSUM_WORD] = 0;
  w[CHECKSUM_WORD] = SUM - w.reduce((a, b) => a + b, 0);
  return w;
}

export class Eeprom {
  /** The serial machine: bits since the start bit, and what goes out. */
  private selected = false;
  private clock = false;
  private started = false;
  private bits = 0;
  private shift = 0;
  private out = 1;
  private address = 0;
  private outBit = -1;

  constructor(private readonly words: Uint16Array) {}

  /** What the guest reads in EECD after its own bits. */
  readEecd(written: number): number {
    let v = (written & (Eecd.clock | Eecd.select | Eecd.dataIn | Eecd.request)) | Eecd.present;
    if (written & Eecd.request) v |= Eecd.grant;
    if (this.out) v |= Eecd.dataOut;
    return v;
  }

  writeEecd(value: number): void {
    const select = (value & Eecd.select) !== 0;
    const clock = (value & Eecd.clock) !== 0;
    const rising = clock && !this.clock;
    this.clock = clock;
    if (!select) {
      this.selected = false;
      return;
    }
    if (!this.selected) {
      this.selected = true;
      this.started = false;
      this.bits = this.shift = 0;
      this.out = 1;
      this.outBit = -1;
    }
    if (rising) this.clockIn((value & Eecd.dataIn) !== 0 ? 1 : 0);
  }

  private clockIn(bit: number): void {
    if (this.outBit >= 0) {
      // Reading goes on with the next word.
      this.out = (this.words[this.address]! >> this.outBit) & 1;
      if (--this.outBit < 0) {
        this.outBit = 15;
        this.address = (this.address + 1) % WORDS;
      }
      return;
    }
    if (!this.started) {
      this.started = bit === 1;
      return;
    }
    this.shift = ((this.shift << 1) | bit) & 0xffff;
    if (++this.bits !== 2 + ADDRESS_BITS) return;
    if (this.shift >> ADDRESS_BITS === OPCODE_READ) {
      this.address = this.shift & (WORDS - 1);
      this.outBit = 15;
      // A zero bit comes before the data.
      this.out = 0;
    }
  }

  /** EERD after a write with its start bit. */
  readWord(eerd: number): number {
    if (!(eerd & Eerd.start)) return eerd;
    const address = (eerd >>> Eerd.addressShift) & 0xff;
    return ((this.words[address] ?? 0) << Eerd.dataShift) | (address << Eerd.addressShift) | Eerd.done;
  }
}

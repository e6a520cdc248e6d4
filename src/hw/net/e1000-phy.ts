/**
 * The 88E1011 transceiver behind MDIC: a gigabit link that is negotiated at once.
 * Sources: IEEE 802.3 22.2.4 (registers 0 to 15), Intel 317453 §13.4.6 (MDIC), chapter 12 (PHY registers).
 */

const PHY_ADDRESS = 1;
const Mdic = { regShift: 16, phyShift: 21, opShift: 26, ready: 1 << 28, interrupt: 1 << 29, error: 1 << 30 } as const;
const Op = { write: 1, read: 2 } as const;
const Phy = { control: 0, status: 1, partner: 5, partnerStatus: 10, specific: 17 } as const;
const CONTROL_SELF_CLEARING = 0x8200;
const STATUS_LINK = 0x0004;
const STATUS_NEGOTIATED = 0x0020;
const SPECIFIC_LINK = 0x0400;
const PARTNER_ABILITIES = 0xcde1;
const PARTNER_GIGABIT = 0x3c00;

/** Register, reset value, bits that can be written. */
const ROWS: readonly (readonly [register: number, reset: number, mask: number])[] = [
  [Phy.control, 0x1140, 0x7fff],
  [Phy.status, 0x7949, 0],
  [2, 0x0141, 0],
  [3, 0x0c20, 0],
  [4, 0x0de1, 0xffff],
  [Phy.partner, 0, 0],
  [6, 0x000f, 0],
  [7, 0x2001, 0xffff],
  [9, 0x0e00, 0xffff],
  [Phy.partnerStatus, 0, 0],
  [15, 0x3000, 0],
  [16, 0x0360, 0xffff],
  // 1 Gb/s, full duplex, resolved.
  [Phy.specific, 0xa800, 0],
  [18, 0, 0xffff],
  [19, 0, 0],
  [20, 0x0d60, 0xffff],
  [21, 0, 0],
];

export class Phy88e1011 {
  readonly words = new Uint16Array(32);
  private link = false;

  constructor() {
    this.reset();
  }

  reset(): void {
    for (const [register, value] of ROWS) this.words[register] = value;
    this.setLink(this.link);
  }

  setLink(up: boolean): void {
    this.link = up;
    const set = (register: number, bits: number) => {
      this.words[register] = up ? this.words[register]! | bits : this.words[register]! & ~bits;
    };
    set(Phy.status, STATUS_LINK | STATUS_NEGOTIATED);
    set(Phy.partner, PARTNER_ABILITIES);
    set(Phy.partnerStatus, PARTNER_GIGABIT);
    set(Phy.specific, SPECIFIC_LINK);
  }

  /** A write to MDIC. @returns what it holds afterwards, and whether the link has been negotiated anew */
  access(mdic: number): { readonly value: number; readonly renegotiated: boolean; readonly interrupt: boolean } {
    const register = (mdic >>> Mdic.regShift) & 31;
    const op = (mdic >>> Mdic.opShift) & 3;
    const row = ROWS.find((r) => r[0] === register);
    const interrupt = (mdic & Mdic.interrupt) !== 0;
    let value = (mdic & ~Mdic.error) | Mdic.ready;
    let renegotiated = false;
    if (((mdic >>> Mdic.phyShift) & 31) !== PHY_ADDRESS || !row || (op !== Op.read && op !== Op.write))
      return { value: (value | Mdic.error) >>> 0, renegotiated, interrupt };
    if (op === Op.read) value = (value & ~0xffff) | this.words[register]!;
    else {
      const data = mdic & 0xffff;
      if (register === Phy.control && data & 0x8000) this.reset();
      else {
        this.words[register] = (this.words[register]! & ~row[2]) | (data & row[2]);
        if (register === Phy.control) {
          this.words[register] = this.words[register]! & ~CONTROL_SELF_CLEARING;
          renegotiated = (data & 0x1200) === 0x1200;
        }
      }
    }
    return { value: value >>> 0, renegotiated, interrupt };
  }
}

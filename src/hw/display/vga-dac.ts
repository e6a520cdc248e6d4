/**
 * VGA colour lookup table: 256 colours of three 6-bit components (8-bit when the Bochs extension asks for it).
 * Source: IBM PS/2 Hardware Interface Technical Reference, Video Subsystem, "Video Digital-to-Analog Converter".
 */
export class VgaDac {
  /** Red, green, blue of each entry, as written. */
  readonly palette = new Uint8Array(768);
  mask = 0xff;
  readIndex = 0;
  writeIndex = 0;
  /** Which component comes next, 0 to 2. */
  component = 0;
  /** 3 after the read index was written, 0 after the write index was. */
  state = 0;
  eightBit = false;
  private readonly pending = new Uint8Array(3);

  reset(): void {
    this.palette.fill(0);
    this.mask = 0xff;
    this.readIndex = 0;
    this.writeIndex = 0;
    this.component = 0;
    this.state = 0;
    this.eightBit = false;
  }

  setReadIndex(value: number): void {
    this.readIndex = value & 0xff;
    this.component = 0;
    this.state = 3;
  }

  setWriteIndex(value: number): void {
    this.writeIndex = value & 0xff;
    this.component = 0;
    this.state = 0;
  }

  readData(): number {
    const v = this.palette[this.readIndex * 3 + this.component]!;
    if (++this.component === 3) {
      this.component = 0;
      this.readIndex = (this.readIndex + 1) & 0xff;
    }
    return v;
  }

  /** The third component stores the entry. */
  writeData(value: number): void {
    this.pending[this.component] = this.eightBit ? value : value & 0x3f;
    if (++this.component === 3) {
      this.palette.set(this.pending, this.writeIndex * 3);
      this.component = 0;
      this.writeIndex = (this.writeIndex + 1) & 0xff;
    }
  }

  /** The colour of a pixel value, 0x00RRGGBB, after the pixel mask. */
  color(index: number): number {
    const i = (index & this.mask) * 3;
    const p = this.palette;
    return (this.widen(p[i]!) << 16) | (this.widen(p[i + 1]!) << 8) | this.widen(p[i + 2]!);
  }

  /** Six bits to eight; the lowest bit is repeated. */
  private widen(v: number): number {
    if (this.eightBit) return v;
    return ((v & 0x3f) << 2) | ((v & 1) * 3);
  }

  savePending(): Uint8Array {
    return this.pending.slice();
  }

  restorePending(bytes: Uint8Array): void {
    this.pending.set(bytes.subarray(0, 3));
  }
}

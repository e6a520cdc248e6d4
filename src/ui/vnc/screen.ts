/** What a client has been shown, and where the screen differs from it. */
import type { Surface } from "../display.js";

/** Differences are looked for in squares of this size. */
const SQUARE = 16;
/** Rows by which a screen can have moved up: text lines, and a few of them. */
const SCROLLS = [8, 14, 16, 32, 48, 64] as const;
/** A part of the screen that has to match, before it is called moved. */
const SCROLL_MATCH = 0.7;

export interface Rect {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
}

export class ClientScreen {
  width = 0;
  height = 0;
  private shown = new Uint32Array(0);
  /** Squares that have to be sent whatever they show. */
  private forced = new Uint8Array(0);

  /** The client forgets what it has. */
  resize(width: number, height: number): void {
    this.width = width;
    this.height = height;
    this.shown = new Uint32Array(width * height);
    this.forced = new Uint8Array(this.across * this.down).fill(1);
  }

  private get across(): number {
    return Math.ceil(this.width / SQUARE);
  }

  private get down(): number {
    return Math.ceil(this.height / SQUARE);
  }

  /** The client wants a part again. */
  invalidate(r: Rect): void {
    const right = Math.min(this.width, r.x + r.width);
    const bottom = Math.min(this.height, r.y + r.height);
    for (let y = Math.floor(r.y / SQUARE); y * SQUARE < bottom; y++)
      for (let x = Math.floor(r.x / SQUARE); x * SQUARE < right; x++) this.forced[y * this.across + x] = 1;
  }

  /** How far the whole screen has moved up, in rows; 0 when it has not. */
  scrolled(s: Surface): number {
    if (s.width !== this.width || s.height !== this.height || this.forced.some((f) => f)) return 0;
    const hash = (pixels: Uint32Array, row: number) => {
      let h = 0;
      for (let i = row * s.width; i < (row + 1) * s.width; i++) h = (Math.imul(h, 31) + pixels[i]!) | 0;
      return h;
    };
    const before = Array.from({ length: s.height }, (_, y) => hash(this.shown, y));
    const now = Array.from({ length: s.height }, (_, y) => hash(s.pixels, y));
    const changed = now.filter((h, y) => h !== before[y]).length;
    if (changed < s.height / 4) return 0;
    for (const rows of SCROLLS) {
      if (rows >= s.height) break;
      // Rows that agree with themselves prove nothing: only changed ones count.
      let match = 0;
      let of = 0;
      for (let y = 0; y + rows < s.height; y++) {
        if (now[y] === before[y]) continue;
        of++;
        if (now[y] === before[y + rows]) match++;
      }
      if (of > 0 && match >= of * SCROLL_MATCH) return rows;
    }
    return 0;
  }

  /** The client has moved what it shows up. */
  scroll(rows: number): void {
    this.shown.copyWithin(0, rows * this.width);
  }

  /** Rectangles that differ within a window; they count as shown from now on. Few large ones rather than many small. */
  take(s: Surface, window: Rect): Rect[] {
    const { across } = this;
    const rects: { x: number; y: number; width: number; height: number }[] = [];
    const right = Math.min(this.width, window.x + window.width);
    const bottom = Math.min(this.height, window.y + window.height);
    let above: { x: number; y: number; width: number; height: number }[] = [];
    for (let sy = Math.floor(window.y / SQUARE); sy * SQUARE < bottom; sy++) {
      const row: typeof above = [];
      for (let sx = Math.floor(window.x / SQUARE); sx * SQUARE < right; sx++) {
        if (!this.differs(s, sx, sy)) continue;
        this.forced[sy * across + sx] = 0;
        const x = sx * SQUARE;
        const width = Math.min(SQUARE, this.width - x);
        const last = row.at(-1);
        if (last && last.x + last.width === x) last.width += width;
        else row.push({ x, y: sy * SQUARE, width, height: Math.min(SQUARE, this.height - sy * SQUARE) });
      }
      // A run below one of the same place makes it taller.
      const next: typeof above = [];
      for (const r of row) {
        const over = above.find((a) => a.x === r.x && a.width === r.width);
        if (over) {
          over.height += r.height;
          next.push(over);
        } else {
          rects.push(r);
          next.push(r);
        }
      }
      above = next;
    }
    for (const r of rects)
      for (let y = r.y; y < r.y + r.height; y++) {
        const at = y * this.width + r.x;
        this.shown.set(s.pixels.subarray(at, at + r.width), at);
      }
    return rects;
  }

  private differs(s: Surface, sx: number, sy: number): boolean {
    if (this.forced[sy * this.across + sx]) return true;
    const x = sx * SQUARE;
    const width = Math.min(SQUARE, this.width - x);
    const bottom = Math.min(this.height, (sy + 1) * SQUARE);
    for (let y = sy * SQUARE; y < bottom; y++) {
      const at = y * this.width + x;
      for (let i = at; i < at + width; i++) if (s.pixels[i] !== this.shown[i]) return true;
    }
    return false;
  }

  /** The pixels of a rectangle as they count as shown. */
  pixels(r: Rect): Uint32Array {
    const out = new Uint32Array(r.width * r.height);
    for (let y = 0; y < r.height; y++) {
      const at = (r.y + y) * this.width + r.x;
      out.set(this.shown.subarray(at, at + r.width), y * r.width);
    }
    return out;
  }
}

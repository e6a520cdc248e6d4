/** Pictures for the page: taken from the display while somebody looks, sent when they differ from the last one. */
import type { Display } from "../src/ui/display.js";
import type { FromWorker } from "./protocol.js";

const FRAME_MS = 50;
const OPAQUE = 0xff000000;

export class ScreenFeed {
  private timer: number | undefined;
  private last = new Uint32Array();
  private lastWidth = 0;

  constructor(
    private readonly display: () => Display | undefined,
    private readonly send: (message: FromWorker, transfer: Transferable[]) => void,
  ) {}

  /** Begins or ends taking pictures; the first one is always sent. */
  watch(on: boolean): void {
    clearInterval(this.timer);
    this.timer = undefined;
    if (!on) return;
    this.last = new Uint32Array();
    this.timer = setInterval(() => this.frame(), FRAME_MS);
    this.frame();
  }

  private frame(): void {
    const surface = this.display()?.refresh();
    if (!surface) return;
    const { width, height, pixels } = surface;
    if (width === this.lastWidth && same(pixels, this.last)) return;
    this.last = pixels.slice();
    this.lastWidth = width;
    const rgba = new Uint32Array(pixels.length);
    // 0x00RRGGBB to bytes R, G, B, A of a little-endian word.
    for (let i = 0; i < rgba.length; i++) {
      const p = pixels[i]!;
      rgba[i] = OPAQUE | ((p & 0xff) << 16) | (p & 0xff00) | (p >>> 16);
    }
    this.send({ kind: "surface", width, height, pixels: new Uint8ClampedArray(rgba.buffer) }, [rgba.buffer]);
  }
}

function same(a: Uint32Array, b: Uint32Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** What a display device shows, and who looks. */

/** A picture: 32 bits a pixel, 0x00RRGGBB in host order, rows of `width`. */
export interface Surface {
  readonly width: number;
  readonly height: number;
  readonly pixels: Uint32Array;
}

/** A display adapter. */
export interface Display {
  /** Brings the surface up to date and returns it; the same object until the mode changes. Bounded in time and size. */
  refresh(): Surface;
  /** The text screen as lines, when in a text mode; else undefined. */
  text(): string[] | undefined;
}

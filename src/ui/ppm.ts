/** Portable pixmap files (`screendump`): P6, 8 bits a component. Source: Netpbm ppm(5). */
import type { Surface } from "./display.js";

/** Encodes a surface as a P6 file. */
export function encodePpm({ width, height, pixels }: Surface): Uint8Array {
  const header = `P6\n${width} ${height}\n255\n`;
  const out = new Uint8Array(header.length + width * height * 3);
  for (let i = 0; i < header.length; i++) out[i] = header.charCodeAt(i);
  let at = header.length;
  for (let i = 0; i < width * height; i++) {
    const p = pixels[i]!;
    out[at++] = p >> 16;
    out[at++] = p >> 8;
    out[at++] = p;
  }
  return out;
}

/**
 * PNG files of a surface: 8-bit RGB, not interlaced.
 * Source: W3C Portable Network Graphics (second edition), sections 5, 9, 11.2.
 */
import { crc32 } from "../base/crc32.js";
import { zlibCompress } from "./deflate.js";
import type { Surface } from "./display.js";

const SIGNATURE = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];
/** Filter type 2: each byte less the one above it; lines that repeat become zeros. */
const FILTER_UP = 2;
const COLOR_RGB = 2;

function chunk(type: string, data: Uint8Array): Uint8Array {
  const out = new Uint8Array(12 + data.length);
  const view = new DataView(out.buffer);
  view.setUint32(0, data.length);
  for (let i = 0; i < 4; i++) out[4 + i] = type.charCodeAt(i);
  out.set(data, 8);
  view.setUint32(8 + data.length, crc32(out.subarray(4, 8 + data.length)));
  return out;
}

/** Encodes a surface as a PNG file. */
export function encodePng({ width, height, pixels }: Surface): Uint8Array {
  const header = new Uint8Array(13);
  const view = new DataView(header.buffer);
  view.setUint32(0, width);
  view.setUint32(4, height);
  header.set([8, COLOR_RGB, 0, 0, 0], 8);

  const raw = new Uint8Array(height * (1 + width * 3));
  let at = 0;
  for (let y = 0; y < height; y++) {
    raw[at++] = FILTER_UP;
    for (let x = 0; x < width; x++) {
      const p = pixels[y * width + x]!;
      const up = y > 0 ? pixels[(y - 1) * width + x]! : 0;
      raw[at++] = (p >> 16) - (up >> 16);
      raw[at++] = (p >> 8) - (up >> 8);
      raw[at++] = p - up;
    }
  }
  const parts = [
    Uint8Array.from(SIGNATURE),
    chunk("IHDR", header),
    chunk("IDAT", zlibCompress(raw)),
    chunk("IEND", new Uint8Array()),
  ];
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let end = 0;
  for (const p of parts) {
    out.set(p, end);
    end += p.length;
  }
  return out;
}

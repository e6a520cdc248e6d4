/** Character devices. Source: QEMU 7.2 qapi/char.json. */
import { CHARDEV_BACKENDS } from "../../../machine/catalog.js";
import { command, type QmpCommand } from "../command.js";
import { deviceNotFound, generic } from "../errors.js";
import { array, bool, enumeration, int, optional, str, struct } from "../types.js";

const FORMAT = enumeration("DataFormat", ["utf8", "base64"]);

export const CHARDEV_COMMANDS: readonly QmpCommand[] = [
  command("query-chardev", {
    doc: "The character devices.",
    returns: array(struct("ChardevInfo", { label: str, filename: str, "frontend-open": bool })),
    run: ({ target }) =>
      target.chardevs().map((c) => ({ label: c.label, filename: c.filename, "frontend-open": c.frontendOpen })),
  }),
  command("query-chardev-backends", {
    doc: "The kinds of character devices.",
    returns: array(struct("ChardevBackendInfo", { name: str })),
    run: () => CHARDEV_BACKENDS.map((name) => ({ name })),
  }),
  command("ringbuf-write", {
    doc: "Writes to a ring buffer.",
    args: { device: str, data: str, format: optional(FORMAT) },
    run: ({ target }, { device, data, format }) => {
      const buffer = target.ringbuf(device);
      if (!buffer) throw deviceNotFound(device);
      buffer.send(format === "base64" ? fromBase64(data) : new TextEncoder().encode(data));
    },
  }),
  command("ringbuf-read", {
    doc: "Takes up to `size` bytes out of a ring buffer.",
    args: { device: str, size: int, format: optional(FORMAT) },
    returns: str,
    run: ({ target }, { device, size, format }) => {
      const buffer = target.ringbuf(device);
      if (!buffer) throw deviceNotFound(device);
      if (size <= 0) throw generic("size must be greater than zero");
      const data = buffer.read(size);
      return format === "base64" ? toBase64(data) : new TextDecoder().decode(data);
    },
  }),
];

const DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/** RFC 4648 §4. */
export function toBase64(data: Uint8Array): string {
  let out = "";
  for (let i = 0; i < data.length; i += 3) {
    const left = data.length - i;
    const v = (data[i]! << 16) | ((data[i + 1] ?? 0) << 8) | (data[i + 2] ?? 0);
    out += DIGITS[v >> 18]! + DIGITS[(v >> 12) & 63]!;
    out += (left > 1 ? DIGITS[(v >> 6) & 63]! : "=") + (left > 2 ? DIGITS[v & 63]! : "=");
  }
  return out;
}

/** @throws QmpError for other characters or lengths */
export function fromBase64(text: string): Uint8Array {
  if (!/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text)) throw generic("Invalid base64 data");
  const out: number[] = [];
  for (let i = 0; i < text.length; i += 4) {
    const v = [0, 1, 2, 3].map((k) => Math.max(0, DIGITS.indexOf(text[i + k]!))).reduce((a, d) => a * 64 + d, 0);
    out.push(v >> 16, (v >> 8) & 255, v & 255);
  }
  return Uint8Array.from(out.slice(0, out.length - (text.endsWith("==") ? 2 : text.endsWith("=") ? 1 : 0)));
}

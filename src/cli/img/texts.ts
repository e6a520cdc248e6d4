/** What `tandem-img` prints about sizes, snapshots and images: qemu-img's words and columns. */
import type { ImageInfo, SnapshotInfo } from "../../block/image-info.js";

const UNITS = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"];

/** "64 MiB": three digits, in the unit that makes it less than 1000. */
export function humanSize(bytes: number): string {
  let unit = 0;
  let value = bytes;
  while (value >= 1000 && unit < UNITS.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Number(value.toPrecision(3))} ${UNITS[unit]}B`;
}

const two = (n: number) => String(n).padStart(2, "0");

/** Local time, as the program's user reads it. `offsetMinutes`: ahead of UTC. */
function dateText(seconds: number, offsetMinutes: (wallMs: number) => number): string {
  const ms = seconds * 1000;
  return new Date(ms + offsetMinutes(ms) * 60_000).toISOString().slice(0, 19).replace("T", " ");
}

function clockText(s: SnapshotInfo): string {
  const sec = s["vm-clock-sec"];
  return `${two(Math.floor(sec / 3600))}:${two(Math.floor(sec / 60) % 60)}:${two(sec % 60)}.${String(Math.floor(s["vm-clock-nsec"] / 1e6)).padStart(3, "0")}`;
}

/** The table of `snapshot -l`. */
export function snapshotList(snapshots: readonly SnapshotInfo[], offsetMinutes: (wallMs: number) => number): string {
  if (snapshots.length === 0) return "";
  const row = (id: string, tag: string, size: string, date: string, clock: string, icount: string) =>
    `${id.padEnd(9)} ${tag.padEnd(16)} ${size.padStart(8)}${date.padStart(20)}${clock.padStart(13)}${icount.padStart(11)}\n`;
  return (
    "Snapshot list:\n" +
    row("ID", "TAG", "VM SIZE", "DATE", "VM CLOCK", "ICOUNT") +
    snapshots
      .map((s) =>
        row(
          s.id,
          s.name,
          humanSize(s["vm-state-size"]),
          dateText(s["date-sec"], offsetMinutes),
          clockText(s),
          s.icount === undefined ? "" : String(s.icount),
        ),
      )
      .join("")
  );
}

/** `info` for people. */
export function infoText(info: ImageInfo, offsetMinutes: (wallMs: number) => number): string {
  const lines = [
    `image: ${info.filename}`,
    `file format: ${info.format}`,
    `virtual size: ${humanSize(info["virtual-size"])} (${info["virtual-size"]} bytes)`,
    `disk size: ${info["actual-size"] === undefined ? "unavailable" : humanSize(info["actual-size"])}`,
  ];
  if (info["cluster-size"] !== undefined) lines.push(`cluster_size: ${info["cluster-size"]}`);
  if (info["dirty-flag"]) lines.push("cleanly shut down: no");
  const backing = info["backing-filename"];
  if (backing !== undefined) {
    const full = info["full-backing-filename"];
    lines.push(`backing file: ${backing}${full !== undefined && full !== backing ? ` (actual path: ${full})` : ""}`);
    if (info["backing-filename-format"] !== undefined) lines.push(`backing file format: ${info["backing-filename-format"]}`);
  }
  let text = `${lines.join("\n")}\n${snapshotList(info.snapshots ?? [], offsetMinutes)}`;
  const specific = info["format-specific"];
  if (specific) text += `Format specific information:\n${specificText(specific.data, 1)}`;
  return text;
}

function specificText(data: Record<string, unknown> | readonly unknown[], depth: number): string {
  const pad = "    ".repeat(depth);
  return Object.entries(data)
    .map(([key, value]) => {
      const name = Array.isArray(data) ? `[${key}]` : key.replaceAll("-", " ");
      return typeof value === "object" && value !== null
        ? `${pad}${name}:\n${specificText(value as Record<string, unknown>, depth + 1)}`
        : `${pad}${name}: ${String(value)}\n`;
    })
    .join("");
}

/** JSON with four spaces, as QEMU prints it. */
export function pretty(value: unknown): string {
  return `${JSON.stringify(value, undefined, 4)}\n`;
}

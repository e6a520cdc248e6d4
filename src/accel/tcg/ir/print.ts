/** IR as text: one record a line, for `-d op` and golden tests. */
import { OPS } from "./ops.js";

interface Places {
  readonly temps: number;
  readonly vtemps: number;
  /** Name of a helper by table index, when known. */
  readonly helperName?: (index: number) => string | undefined;
}

/** Operations whose immediate's upper half is a helper's index. */
const NAMES_HELPER =
  /^(call|callp|callcc|slowcall|fhelper|fvhelper|vcallp|fv3helper|vcall3p|vf(min|max|cmp|sqrt|round)\d+|vcvt(i32f32|f32i32|f32f64))$/;

function slot(offset: number, L: Places): string {
  if (offset >= L.temps) return `t${(offset - L.temps) / 8}`;
  return `[${offset.toString(16)}]`;
}

/** Up to 9 in decimal, more in hexadecimal. */
function number(v: number): string {
  const n = Math.abs(v);
  return `${v < 0 ? "-" : ""}${n > 9 ? `0x${n.toString(16)}` : n}`;
}

export function printIr(words: Int32Array, length: number, L: Places): string {
  const out: string[] = [];
  for (let i = 0; i < length; i++) {
    const w0 = words[i * 4]!;
    const w1 = words[i * 4 + 1]!;
    const lo = words[i * 4 + 2]!;
    const hi = words[i * 4 + 3]!;
    const op = OPS[w0 & 0xffff];
    if (!op) {
      out.push(`${i}: ?${w0 & 0xffff}`);
      continue;
    }
    const parts: string[] = [];
    if (op.result !== "none") parts.push(slot(w0 >>> 16, L));
    const offsets = { a: w1 & 0xffff, b: w1 >>> 16, c: lo & 0xffff };
    for (const x of op.inputs) parts.push(slot(offsets[x.which], L));
    const helper = NAMES_HELPER.test(op.name) ? L.helperName?.(hi) : undefined;
    if (helper) parts.push(...(lo ? [`#${number(lo)}`] : []), helper);
    else if (lo || hi)
      parts.push(hi === lo >> 31 ? `#${number(lo)}` : `#${(hi >>> 0).toString(16)}:${(lo >>> 0).toString(16).padStart(8, "0")}`);
    out.push(`${String(i).padStart(4)} ${op.name} ${parts.join(", ")}`.trimEnd());
  }
  return out.join("\n");
}

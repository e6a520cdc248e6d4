/** Translates a golden case to text: guest instructions, IR, the hot path's WebAssembly, and what they cost. */
import { Block } from "../src/accel/tcg/code-cache.js";
import type { GoldenCase } from "../src/accel/tcg/golden/cases.js";
import { IrBuilder } from "../src/accel/tcg/ir/builder.js";
import { printIr } from "../src/accel/tcg/ir/print.js";
import type { CodeSource } from "../src/accel/tcg/target.js";
import { HELPER_TYPE } from "../src/accel/tcg/tier0.js";
import { emitRegion } from "../src/accel/tcg/tier1/emit.js";
import { growRegion } from "../src/accel/tcg/tier1/region.js";
import { printWasm } from "../src/accel/tcg/wasm/print.js";
import { ModuleWriter } from "../src/accel/tcg/wasm/writer.js";
import { cpuModel } from "../src/target/x86/cpu-models.js";
import { disassemble } from "../src/target/x86/disassemble.js";
import * as L from "../src/target/x86/layout.js";
import { x86Target } from "../src/target/x86/target.js";

const PC = 0x401000;
const COMMON = L.HF_OSFXSR | L.HF_OSXMMEXCPT | (1 << L.HF_MMU_SHIFT);
const FLAGS = {
  16: COMMON,
  32: COMMON | L.HF_PE | L.HF_CS32 | L.HF_SS32,
  64: COMMON | L.HF_PE | L.HF_CS32 | L.HF_SS32 | L.HF_CS64 | L.HF_LMA,
} as const;

/** The text of one case. */
export function goldenText(c: GoldenCase): string {
  const bytes = c.code.split(" ").map((b) => Number.parseInt(b, 16));
  const names: string[] = [""];
  const helperIndex = (name: string) => {
    const known = names.indexOf(name);
    return known > 0 ? known : names.push(name) - 1;
  };
  const model = cpuModel("max", []);
  const target = x86Target(model);
  const fp = target.fpHelpers(helperIndex);
  const builder = new IrBuilder(target.layout);
  const frontEnd = target.frontEnd(helperIndex, builder);
  // HLT after the end, which no case reaches in the block.
  const source: CodeSource = { byte: (o) => bytes[o] ?? 0xf4, fits: (o) => o < bytes.length, crossed: false };
  const flags = FLAGS[c.mode];
  const t = frontEnd.translate(builder, source, PC, 0, flags, 64);
  const ir = printIr(builder.words, builder.length, { ...target.layout, helperName: (k) => names[k] });
  const out = [`## ${c.name} (${c.mode}-bit: ${c.code})`, ""];
  for (let o = 0; o < t.size; ) {
    const d = disassemble({ byte: (k) => bytes[k] ?? 0 }, o, BigInt(PC + o), flags);
    out.push(`    ${(PC + o).toString(16)}  ${d.text}`);
    o += d.length;
  }
  out.push("", ...ir.split("\n"));
  const block = new Block(0x10000, 0, PC, 0, flags, 0, t.insns, t.size, t.simple, t.end, builder.length);
  const region = growRegion(
    block,
    {
      frontEnd,
      builder,
      probe: () => 0,
      warm: () => undefined,
      source: () => source,
      executions: () => 1,
      targets: () => [],
    },
    { maxNodes: 4, maxInsns: 64 },
  );
  const records = builder.length;
  if (!region) {
    out.push("", `cost: ${t.insns} guest instructions, ${records} records; tier 0 only`, "");
    return out.join("\n");
  }
  const module = new ModuleWriter(1, true);
  const imports = new Map<number, number>();
  for (let k = 1; k < names.length; k++) imports.set(k, module.import("runtime", names[k]!, HELPER_TYPE));
  const { code: body } = emitRegion(region, {
    L: target.layout,
    fp,
    module,
    lookup: [module.importCount, module.importCount + 1],
    probe: module.importCount + 2,
    helper: (k) => imports.get(k)!,
    site: () => 0,
  });
  const hot = hotPath(printWasm(body).lines);
  const count = hot.filter((l) => !/^ *(end|else)$/.test(l)).length;
  out.push("", ...hot.map((l) => l.replace(/\bcall (\d+)$/, (_, n: string) => callee(Number(n), names))));
  out.push(
    "",
    `cost: ${t.insns} guest instructions, ${records} records, ${count} WebAssembly instructions, ${body.length} bytes in all`,
    "",
  );
  return out.join("\n");
}

function callee(n: number, names: readonly string[]): string {
  if (n < names.length - 1) return `call ${names[n + 1]}`;
  return n === names.length - 1 ? "call lookup for reads" : "call lookup for writes";
}

/** What runs in the region: between entry (loads) and exit (stores). */
function hotPath(lines: readonly string[]): string[] {
  const open = lines.findIndex((l, i) => l === "block" && lines[i + 1] === "  block");
  if (open < 0) throw new Error("a region's body is two blocks around its code");
  const close = lines.findIndex((l, i) => i > open && l === "  end");
  return lines.slice(open + 2, close).map((l) => l.slice(4));
}

/** The text of a golden file. */
export function goldenFile(name: string, cases: readonly GoldenCase[]): string {
  const head = `# Golden translations: ${name}\n\nMade by \`npm run golden -- --update\`; a change is read in review.\n\n`;
  return `${head}${cases.map(goldenText).join("\n")}`;
}

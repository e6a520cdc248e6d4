/**
 * npm run coverage-pages: writes docs/coverage/*.md from the tables that the code itself uses.
 *   node --import tsx tools/coverage-pages.ts [--check]
 */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { OPTION_GROUPS, UNSUPPORTED_OPTIONS } from "../src/cli/options/table.js";
import { CHARDEV_BACKENDS, MACHINE_TYPES, TRACE_ITEMS, VGA_TYPES } from "../src/machine/catalog.js";
import { commonProperties } from "../src/machine/device-properties.js";
import { DEVICE_TYPES } from "../src/machine/device-types.js";
import { COMMANDS, INFO_COMMANDS } from "../src/monitor/hmp/session.js";
import { QMP_EVENTS } from "../src/monitor/qmp/events.js";
import { QMP_COMMANDS } from "../src/monitor/qmp/table.js";
import { type Members, memberType, type QapiType } from "../src/monitor/qmp/types.js";
import { PPC_CPU_MODELS } from "../src/target/ppc/cpu-models.js";
import { rows as PPC_ROWS } from "../src/target/ppc/isa.js";
import { SPRS } from "../src/target/ppc/sprs.js";
import "../src/target/ppc/tables/index.js";
import { CPU_MODELS, knownFeatures } from "../src/target/x86/cpu-models.js";
import { CPL0, LOCK, NO64, ONLY64, type Row } from "../src/target/x86/insn.js";
import { rows as X86_ROWS } from "../src/target/x86/opcodes.js";
import "../src/target/x86/tables/index.js";

const FOLDER = fileURLToPath(new URL("../docs/coverage/", import.meta.url));
const NOTE = "<!-- Made by `npm run coverage-pages` from the code's tables; do not edit. -->\n\n";

/** A cell may hold anything. */
const cell = (text: string) => text.replaceAll("|", "\\|").replaceAll("<", "&lt;").replaceAll("\n", " ");
const code = (text: string) => (text === "" ? "" : `\`${text.replaceAll("|", "\\|")}\``);

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  return `${[head, head.map(() => "---"), ...rows].map((r) => `| ${r.join(" | ")} |`).join("\n")}\n`;
}

function options(): string {
  let out = "# Command-line options\n\n`tandem-system-x86_64` and `tandem-system-i386`; one dash or two.\n";
  for (const g of OPTION_GROUPS)
    out += `\n## ${g.heading}\n\n${table(
      ["option", "argument", "what it does"],
      g.options.map((o) => [o.names.map((n) => code(`-${n}`)).join(", "), code(o.argument ?? ""), cell(o.help.join("; "))]),
    )}`;
  const [pc] = MACHINE_TYPES;
  out += `\n## Properties of \`-machine ${pc!.name}\`\n\n${table(
    ["property", "values (first is the default)", "meaning"],
    pc!.properties.map((p) => [code(p.name), code(p.accepts.join("|")), cell(p.description)]),
  )}`;
  out += `\n## Other values\n\n- \`-vga\`: ${VGA_TYPES.map((v) => code(v.name)).join(", ")}\n`;
  out += `- \`-chardev\`: ${CHARDEV_BACKENDS.map(code).join(", ")}\n- \`-d\`: ${TRACE_ITEMS.map((t) => code(t.name)).join(", ")}\n`;
  out += `\n## Refused by name\n\n${[...UNSUPPORTED_OPTIONS].map((o) => code(`-${o}`)).join(", ")}\n`;
  return out;
}

function devices(): string {
  const types = [...DEVICE_TYPES].sort((a, b) => (a.name < b.name ? -1 : 1));
  let out = `# Devices\n\nWhat \`-device\` takes.\n\n${table(
    ["device", "alias", "bus", "description"],
    types.map((t) => [code(t.name), t.aliases.map(code).join(", "), t.bus, cell(t.description)]),
  )}`;
  for (const t of types)
    out += `\n## ${t.name}\n\n${table(
      ["property", "kind", "default", "meaning"],
      [...t.properties, ...commonProperties(t)].map((p) => [
        code(p.name),
        p.type,
        p.default === undefined ? "" : code(typeof p.default === "boolean" ? (p.default ? "on" : "off") : String(p.default)),
        cell(p.description),
      ]),
    )}`;
  return out;
}

function monitor(): string {
  const rows = (commands: typeof COMMANDS, prefix = "") =>
    commands.map((c) => [c.names.map((n) => code(prefix + n)).join(", "), code(c.args), cell(c.help)]);
  return `# Human monitor\n\n${table(["command", "arguments", "what it does"], rows(COMMANDS))}\n${table(
    ["topic", "arguments", "what it shows"],
    rows(INFO_COMMANDS, "info "),
  )}`;
}

/** A type in a line. */
function typeText(type: QapiType): string {
  const { meta } = type;
  switch (meta.kind) {
    case "builtin":
      return meta.name;
    case "enum":
      return meta.values.map((v) => `"${v}"`).join(" or ");
    case "array":
      return `[${typeText(meta.element)}]`;
    case "alternate":
      return meta.of.map(typeText).join(" or ");
    case "union":
      return `${meta.name} by ${meta.tag}`;
    case "struct":
      return membersText(meta.members) + (meta.open ? ", ..." : "");
  }
}

function membersText(members: Members): string {
  return `{${Object.entries(members)
    .map(([name, m]) => `${name}${"optional" in m ? "?" : ""}: ${typeText(memberType(m))}`)
    .join(", ")}}`;
}

function qmp(): string {
  const text = (t: QapiType | undefined) => (t ? code(typeText(t)) : "");
  return `# QMP\n\nThe monitor protocol (\`-qmp\`, \`-mon mode=control\`), as \`query-qmp-schema\` gives it. A member with "?" may be left out.\n\n${table(
    ["command", "what it does", "arguments", "returns"],
    QMP_COMMANDS.map((c) => [code(c.name), cell(c.doc), text(c.args), text(c.returns)]),
  )}\n## Events\n\n${table(
    ["event", "when", "data"],
    QMP_EVENTS.map((e) => [code(e.name), cell(e.doc), text(e.data)]),
  )}`;
}

/** Opcode maps by the escape bytes of a row's key. */
function opcodeMap(r: Row): string {
  const key = r.key.replace(/^(np|66|f3|f2) /, "");
  if (/^0f 38 [0-9a-f]{2}/.test(key)) return "0F 38";
  if (/^0f 3a [0-9a-f]{2}/.test(key)) return "0F 3A";
  if (/^0f [0-9a-f]{2}/.test(key)) return "0F";
  return /^d[89a-f]/.test(key) ? "x87 (D8 to DF)" : "one byte";
}

function x86(): string {
  const emulated = X86_ROWS.filter((r) => r.emit).length;
  let out =
    "# x86 instructions\n\nThe rows of the opcode tables in `src/target/x86/tables/`: opcode as `prefix map byte /reg`, where ";
  out +=
    "`np` means no mandatory prefix, `m` and `r` the memory and register forms, `=xx` one whole ModRM byte; operands in the ";
  out +=
    "letters of the Intel SDM, volume 2, appendix A. What is not listed raises #UD, and so does a row that is not emulated or ";
  out += "whose CPUID feature the CPU model lacks.\n\n";
  out += `${X86_ROWS.length} rows, ${emulated} emulated.\n`;
  const maps = ["one byte", "0F", "0F 38", "0F 3A", "x87 (D8 to DF)"];
  for (const map of maps) {
    const list = X86_ROWS.filter((r) => opcodeMap(r) === map);
    const mode = (r: Row) =>
      [
        r.flags & NO64 ? "not in 64-bit mode" : "",
        r.flags & ONLY64 ? "64-bit mode only" : "",
        r.flags & LOCK ? "LOCK" : "",
        r.flags & CPL0 ? "CPL 0" : "",
      ]
        .filter(Boolean)
        .join(", ");
    out += `\n## Map ${map}\n\n${table(
      ["opcode", "instruction", "notes", "emulated"],
      list.map((r) => [code(r.key), code(r.text), mode(r), r.emit ? "yes" : "no"]),
    )}`;
  }
  const features = knownFeatures();
  out += `\n## CPUID features\n\n${table(
    ["feature", "CPUID word", "bit", "emulated"],
    features.map((f) => [code(f.name), f.word, String(f.bit), f.supported ? "yes" : "no"]),
  )}`;
  out += `\n## CPU models\n\n${table(
    ["model", "long mode", "description"],
    Object.entries(CPU_MODELS).map(([name, m]) => [code(name), m.longMode ? "yes" : "no", cell(m.description)]),
  )}`;
  return out;
}

function ppc(): string {
  const emulated = PPC_ROWS.filter((r) => r.emit).length;
  let out =
    "# PowerPC instructions\n\nThe rows of the tables in `src/target/ppc/tables/`: mnemonic, bit picture (`#v:n` the value v in n ";
  out += "bits, `/n` ignored bits, `name:n` a field), section of the Power ISA 3.0B. What is not listed, a row that is not ";
  out += "emulated, and a row of Power ISA 3.0 on POWER8 raise a program interrupt (illegal instruction).\n\n";
  out += `${PPC_ROWS.length} rows, ${emulated} emulated.\n`;
  const sources = [...new Set(PPC_ROWS.map((r) => r.source))].sort();
  for (const source of sources) {
    const list = PPC_ROWS.filter((r) => r.source === source);
    const notes = (r: (typeof PPC_ROWS)[number]) =>
      [r.isa300 ? "ISA 3.0" : "", r.privileged ? "supervisor" : "", r.needs ? `needs ${r.needs}` : ""].filter(Boolean).join(", ");
    out += `\n## ${source}\n\n${table(
      ["instruction", "picture", "notes", "emulated"],
      list.map((r) => [code(r.mnemonic), code(r.picture), notes(r), r.emit ? "yes" : "no"]),
    )}`;
  }
  const sprs = [...SPRS.values()].sort((a, b) => a.number - b.number);
  out += `\n## Special purpose registers\n\n${table(
    ["number", "name", "read", "write"],
    sprs.map((s) => {
      const how = (x: unknown) => (s.hypervisor ? "privileged interrupt" : x ? "yes" : "no");
      return [String(s.number), code(s.name), how(s.read), how(s.write)];
    }),
  )}`;
  out += `\n## CPU models\n\n${table(
    ["model", "PVR", "description"],
    Object.values(PPC_CPU_MODELS).map((m) => [code(m.name), code(m.pvr.toString(16).padStart(8, "0")), cell(m.description)]),
  )}`;
  return out;
}

/** The pages by file name. */
export const PAGES: { readonly [file: string]: () => string } = {
  "options.md": options,
  "devices.md": devices,
  "monitor.md": monitor,
  "qmp.md": qmp,
  "x86.md": x86,
  "ppc.md": ppc,
};

/** @returns the pages whose file differs from what the tables say */
export function stalePages(): string[] {
  return Object.entries(PAGES)
    .filter(([file, make]) => {
      try {
        return readFileSync(path.join(FOLDER, file), "utf8") !== NOTE + make();
      } catch {
        return true;
      }
    })
    .map(([file]) => file);
}

if (process.argv[1] && path.resolve(process.argv[1]) === fileURLToPath(import.meta.url)) {
  if (process.argv.includes("--check")) {
    const stale = stalePages();
    for (const file of stale) console.error(`docs/coverage/${file} is out of date: npm run coverage-pages`);
    process.exitCode = stale.length > 0 ? 1 : 0;
  } else {
    mkdirSync(FOLDER, { recursive: true });
    for (const [file, make] of Object.entries(PAGES)) writeFileSync(path.join(FOLDER, file), NOTE + make());
  }
}

/** The `info` commands. */
import { QEMU_VERSION, TANDEM_VERSION } from "../../base/version.js";
import type { BusNode, ReportTopic } from "../../machine/board.js";
import type { AddressSpace, Mapping } from "../../memory/address-space.js";
import type { BlockSummary } from "../target.js";
import type { Command, CommandContext } from "./command.js";
import { pciText } from "./pci.js";

const hex16 = (n: number | bigint) => n.toString(16).padStart(16, "0");

function kindOf(m: Mapping): string {
  return m.region.kind === "io" ? "i/o" : m.region.kind === "none" ? "none" : m.region.kind;
}

/** `info mtree`: mappings in order of address, as they were made. */
export function treeText(space: AddressSpace): string {
  const last = BigInt(Math.round(Math.min(space.sizeBytes, 2 ** 64))) - 1n;
  let out = `address-space: ${space.name}\n  ${hex16(0)}-${hex16(last)} (prio 0, container): ${space.name}\n`;
  const sorted = [...space.allMappings()].sort((a, b) => a.base - b.base || a.priority - b.priority);
  for (const m of sorted)
    out += `    ${hex16(m.base)}-${hex16(m.base + m.size - 1)} (prio ${m.priority}, ${kindOf(m)}): ${m.name}${m.enabled ? "" : " [disabled]"}\n`;
  return `${out}\n`;
}

/** `info mtree -f`: what an access reaches. */
export function flatText(space: AddressSpace): string {
  let out = `FlatView\n AS "${space.name}"\n`;
  for (const r of space.ranges()) {
    const offset = r.start - r.mapping.base + ("offset" in r.mapping.region ? r.mapping.region.offset : 0);
    out += `  ${hex16(r.start)}-${hex16(r.end - 1)} (prio ${r.mapping.priority}, ${kindOf(r.mapping)}): ${r.mapping.name}${offset > 0 ? ` @${hex16(offset)}` : ""}\n`;
  }
  return `${out}\n`;
}

/** `info block`. */
export function blockText({ drive, file, cache, trayOpen }: BlockSummary): string {
  const { backend } = drive;
  let out = backend
    ? `${drive.id}: ${file === "" ? backend.name : file} (raw${backend.readOnly ? ", read-only" : ""})\n`
    : `${drive.id}: [not inserted]\n`;
  if (drive.media !== "disk")
    out += `    Removable device: ${drive.trayLocked ? "locked" : "not locked"}, tray ${trayOpen ? "open" : "closed"}\n`;
  if (backend) out += `    Cache mode:       ${cache}\n`;
  return out;
}

function treeOf(bus: BusNode, indent: string): string {
  let out = `${indent}bus: ${bus.name}\n${indent}  type ${bus.type}\n`;
  for (const d of bus.devices) {
    out += `${indent}  dev: ${d.type}, id "${d.id ?? ""}"\n`;
    for (const [name, value] of d.props) out += `${indent}    ${name} = ${value}\n`;
    for (const b of d.buses) out += treeOf(b, `${indent}    `);
  }
  return out;
}

/** An `info` topic without arguments. */
function topic(name: string, help: string, text: (context: CommandContext) => string): Command {
  return {
    names: [name],
    args: "",
    help,
    run: (context, args) => {
      args.end();
      context.print(text(context));
    },
  };
}

function report(name: ReportTopic, help: string): Command {
  return topic(name, help, ({ target, session }) => {
    const text = target.inspect.report(name, session.cpu);
    return text === "" || text.endsWith("\n") ? text : `${text}\n`;
  });
}

const STATUS: { readonly [state: string]: string } = {
  running: "running",
  prelaunch: "paused (prelaunch)",
  paused: "paused",
};

export const INFO_COMMANDS: readonly Command[] = [
  topic("block", "show info of block devices", ({ target }) => target.blocks().map(blockText).join("\n") || "no block devices\n"),
  topic("chardev", "show the character devices", ({ target }) =>
    target
      .chardevs()
      .map((c) => `${c.label}: filename=${c.filename}\n`)
      .join(""),
  ),
  topic("cpus", "show infos for each CPU", ({ target, session }) =>
    target.inspect
      .cpus()
      .map((c) => `${c.index === session.cpu ? "*" : " "} CPU #${c.index}: pc=0x${hex16(c.pc)}${c.halted ? " (halted)" : ""}\n`)
      .join(""),
  ),
  report("irq", "show the interrupts statistics"),
  report("jit", "show dynamic compiler info"),
  report("kvm", "show KVM information"),
  report("mem", "show the active virtual memory mappings"),
  topic("migrate", "show migration status", ({ target }) => {
    const { info } = target.migration;
    if (!info) return "";
    const kib = (bytes: number) => `${Math.ceil(bytes / 1024)} kbytes`;
    const { progress: p } = info;
    let out = `Migration status: ${info.status}${info.error === undefined ? "" : ` (${info.error})`}\n`;
    if (info.totalTimeMs === undefined) return out;
    out += `total time: ${Math.round(info.totalTimeMs)} ms\n`;
    if (info.downtimeMs !== undefined) out += `downtime: ${Math.round(info.downtimeMs)} ms\n`;
    out += `transferred ram: ${kib(p.streamBytes)}\nremaining ram: ${kib(p.totalBytes - p.doneBytes)}\n`;
    return `${out}total ram: ${kib(p.totalBytes)}\nduplicate: ${p.zeroBytes / 4096} pages\n`;
  }),
  {
    names: ["mtree"],
    args: "[-f]",
    help: "show memory tree (-f: the flat view of each address space)",
    run: ({ target, print }, args) => {
      const flat = args.flags("f").has("f");
      args.end();
      for (const space of target.inspect.addressSpaces()) print(flat ? flatText(space) : treeText(space));
    },
  },
  topic("name", "show the current VM name", ({ target }) => (target.name === undefined ? "" : `${target.name}\n`)),
  topic("pci", "show PCI info", ({ target }) => pciText(target.inspect.pciFunctions())),
  report("pic", "show PIC state"),
  topic("qtree", "show device tree", ({ target }) => treeOf(target.inspect.deviceTree(), "")),
  {
    names: ["registers"],
    args: "[-a]",
    help: "show the cpu registers (-a: all CPUs)",
    run: ({ target, session, print }, args) => {
      const all = args.flags("a").has("a");
      args.end();
      for (const c of target.inspect.cpus()) {
        if (!all && c.index !== session.cpu) continue;
        const text = target.inspect.registers(c.index);
        print(`${all ? `\nCPU#${c.index}\n` : ""}${text}${text.endsWith("\n") ? "" : "\n"}`);
      }
    },
  },
  topic("roms", "show roms", ({ target }) =>
    (target.inspect.addressSpaces()[0]?.allMappings() ?? [])
      .filter((m) => m.region.kind === "rom")
      .map((m) => `addr=${hex16(m.base)} size=0x${m.size.toString(16).padStart(6, "0")} mem=rom name="${m.name}"\n`)
      .join(""),
  ),
  topic("snapshots", "show the currently saved VM snapshots", ({ target }) => {
    const list = target.snapshots.list();
    if (list.length === 0) return "There is no snapshot available.\n";
    const row = (id: string, tag: string, size: string, date: string, clock: string) =>
      `${id.padEnd(9)} ${tag.padEnd(16)} ${size.padStart(8)}${date.padStart(20)}${clock.padStart(13)}\n`;
    const clock = (ns: number) => new Date(ns / 1e6).toISOString().slice(11, 23);
    const rows = list.map((s) =>
      row(
        s.id,
        s.name,
        `${(s.vmStateBytes / 2 ** 20).toFixed(1)} MiB`,
        new Date(s.dateSec * 1000).toISOString().slice(0, 19).replace("T", " "),
        clock(s.vmClockNs),
      ),
    );
    return `List of snapshots present on all disks:\n${row("ID", "TAG", "VM SIZE", "DATE", "VM CLOCK")}${rows.join("")}`;
  }),
  topic("status", "show the current VM status (running|paused)", ({ target }) => {
    const state = target.runState;
    return `VM status: ${Object.hasOwn(STATUS, state) ? STATUS[state] : `paused (${state})`}\n`;
  }),
  report("tlb", "show virtual to physical memory mappings"),
  topic("uuid", "show the current VM UUID", ({ target }) => `${target.uuid}\n`),
  topic("version", "show the version of QEMU", () => `${QEMU_VERSION} (Tandem ${TANDEM_VERSION})\n`),
];

/** The pc machine described for monitors: `info qtree`, `info tlb`, `info jit`, ... */
import type { TcgEngine } from "../accel/tcg/engine.js";
import type { Device } from "../hw/core/device.js";
import type { IrqLine } from "../hw/core/irq.js";
import { VgaIsa } from "../hw/display/vga-isa.js";
import type { AtaDevice } from "../hw/ide/ata-device.js";
import { Piix3Ide } from "../hw/ide/piix3-ide.js";
import { formatPciAddress } from "../hw/pci/bus.js";
import type { PciDevice } from "../hw/pci/device.js";
import { VirtioSerial } from "../hw/virtio/console.js";
import { VirtioPci } from "../hw/virtio/pci.js";
import * as L from "../target/x86/layout.js";
import type { BusNode, DeviceNode, ReportTopic } from "./board.js";
import type { PcBoard } from "./pc.js";
import { kvmText } from "./pc-kvm-report.js";
import { pageMapText } from "./pc-page-map.js";

const TLB_ENTRIES = 1024;
const PAGE = 4096;

/** A report as text. */
export function report(board: PcBoard, topic: ReportTopic, cpu: number): string {
  switch (topic) {
    case "irq":
      return [board.pic, board.ioapic].map(statistics).join("");
    case "pic":
      return `${board.pic.describe().join("\n")}\n`;
    case "jit":
      return translationReport(board.processors.engine);
    case "kvm":
      return kvmText(board.processors);
    case "tlb":
      return tlb(board, cpu);
    case "mem":
      return mappings(board, cpu);
  }
}

/** What the translator has done so far. */
export function translationReport(e: Pick<TcgEngine, "cache" | "stats" | "tier1" | "executed">): string {
  const executed = e.executed();
  const rows: [string, number | string][] = [
    ["guest instructions", e.stats.insns],
    ["guest instructions in tier 0", executed.tier0],
    ["regions entered", executed.regionEntries],
    ["region exits for one instruction", executed.siteExits],
    ["translated blocks", e.cache.blocks],
    ["blocks ever", e.stats.blocks],
    ["guest instructions translated", e.stats.translatedInsns],
    ["block area bytes", e.cache.usedBytes],
    ["full flushes", e.cache.flushes],
    ["jump cache misses", e.stats.misses],
    ["exceptions", e.stats.faults],
    ["self-modifying stores", e.stats.smc],
    ["regions compiled", e.tier1.stats.regions],
    ["WebAssembly modules", e.tier1.stats.modules],
    ["region WebAssembly bytes", e.tier1.stats.bytes],
    ["region guest instructions", e.tier1.stats.insns],
    ["region compile ms", Math.round(e.tier1.stats.compileMs)],
    ["blocks not compilable", e.tier1.stats.failed],
    ["region exit sites taken", e.stats.siteBlocks],
  ];
  return `${rows.map(([n, v]) => `${n.padEnd(32)}${v}`).join("\n")}\n`;
}

function tlb(board: PcBoard, cpu: number): string {
  const env = board.processors.engine.envOf(cpu);
  const out: string[] = [];
  const u32 = board.ram.u32;
  for (let mmu = 0; mmu < L.TLB_MODES; mmu++)
    for (let i = 0; i < TLB_ENTRIES; i++) {
      const e = (env + L.TLB + mmu * L.TLB_MMU_SIZE + i * L.TLB_ENTRY) >>> 2;
      const tags = [u32[e]!, u32[e + 2]!, u32[e + 4]!];
      const k = tags.findIndex((t) => !(t & L.TAG_INVALID));
      if (k < 0) continue;
      const linear = (BigInt(u32[e + 2 * k + 1]!) << 32n) | BigInt((tags[k]! & -PAGE) >>> 0);
      const rwx = tags.map((t, j) => (t & L.TAG_INVALID ? "-" : "rwx"[j])).join("");
      const physical = (u32[e + 7]! & 0xfffffff) * PAGE;
      out.push(`${linear.toString(16).padStart(16, "0")}: ${physical.toString(16).padStart(10, "0")} ${rwx} mmu${mmu}`);
    }
  return `${out.join("\n")}\n`;
}

function mappings(board: PcBoard, cpu: number): string {
  const env = board.processors.stateOf(cpu) >>> 2;
  const u32 = (offset: number) => board.ram.u32[env + (offset >>> 2)]!;
  const cr3 = (BigInt(u32(L.CR3 + 4)) << 32n) | BigInt(u32(L.CR3));
  return pageMapText({ cr0: u32(L.CR0), cr3, cr4: u32(L.CR4), efer: u32(L.EFER) }, (address, sizeBytes) => {
    const bytes = new Uint8Array(sizeBytes);
    board.memory.readBytes(address, bytes);
    return new DataView(bytes.buffer);
  });
}

function statistics({ type, inputs }: { readonly type: string; readonly inputs: readonly IrqLine[] }): string {
  const rows = inputs.map(({ rises }, n) => (rises > 0 ? `${String(n).padStart(2)}: ${rises}\n` : ""));
  return `IRQ statistics for ${type}:\n${rows.join("")}`;
}

const hex = (n: number): string => `0x${n.toString(16)}`;

/** The main system bus. */
export function deviceTree(board: PcBoard): BusNode {
  const isPci = (d: Device): d is PciDevice => "configRead" in d;
  const others = board.devices().filter((d) => !isPci(d));
  const onIsa = (d: Device) => d instanceof VgaIsa || /^(isa-|i8042|port92|mc146818|i8254|i8257|pvpanic|pc-testdev)/.test(d.type);
  const plain = (d: Device): DeviceNode => ({ type: d.type, id: d.id, props: [], buses: [] });
  const serials = board.serials.filter((s) => s !== undefined);
  const isa: BusNode = {
    name: "isa.0",
    type: "ISA",
    devices: others.filter(onIsa).map((d) => {
      const serial = serials.find((s) => s.uart === d);
      if (serial)
        return {
          ...plain(d),
          props: [
            ["iobase", hex(serial.base)],
            ["irq", String(serial.irq)],
          ],
        };
      return d.type === "isa-fdc" ? { ...plain(d), buses: [floppyBus(board)] } : plain(d);
    }),
  };
  const root: BusNode = {
    name: "pci.0",
    type: "PCI",
    devices: board.pciFunctions().map(({ device }) => ({
      type: device.type,
      id: device.id,
      props: [["addr", formatPciAddress(device.devfn)] as const],
      buses: device === board.isa ? [isa] : busesOf(device),
    })),
  };
  return {
    name: "main-system-bus",
    type: "System",
    devices: [
      ...others.filter((d) => !onIsa(d) && d.type !== "i440FX-pcihost").map(plain),
      { type: "i440FX-pcihost", props: [], buses: [root] },
    ],
  };
}

function busesOf(device: PciDevice): BusNode[] {
  if (device instanceof Piix3Ide)
    return device.channels.map((channel) => ({
      name: channel.name,
      type: "IDE",
      devices: ([0, 1] as const).map((u) => channel.at(u)).flatMap((d, unit) => (d ? [ideDrive(d, unit)] : [])),
    }));
  if (device instanceof VirtioPci && device.virtio instanceof VirtioSerial)
    return [
      {
        name: device.id === undefined ? "virtio-serial-bus.0" : `${device.id}.0`,
        type: "virtio-serial-bus",
        devices: device.virtio.portList().map((p) => ({
          type: p.options.console ? "virtconsole" : "virtserialport",
          id: p.options.id,
          props: [
            ["nr", String(p.nr)],
            ["name", JSON.stringify(p.options.name ?? "")],
          ],
          buses: [],
        })),
      },
    ];
  return [];
}

function ideDrive(drive: AtaDevice, unit: number): DeviceNode {
  return {
    type: drive.type,
    id: drive.id,
    props: [
      ["drive", JSON.stringify(drive.drive.id)],
      ["unit", String(unit)],
    ],
    buses: [],
  };
}

function floppyBus(board: PcBoard): BusNode {
  return {
    name: "floppy-bus.0",
    type: "floppy-bus",
    devices: board.floppies.flatMap((f, unit) =>
      f
        ? [
            {
              type: "floppy",
              props: [
                ["drive", JSON.stringify(f.drive.id)],
                ["unit", String(unit)],
              ] as const,
              buses: [],
            },
          ]
        : [],
    ),
  };
}

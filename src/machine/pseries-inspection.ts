/** The pseries machine described for monitors: `info qtree`, `info pic`, `info tlb`, `info jit`, ... */
import type { Device } from "../hw/core/device.js";
import { formatPciAddress } from "../hw/pci/bus.js";
import * as L from "../target/ppc/layout.js";
import type { BusNode, DeviceNode, ReportTopic } from "./board.js";
import { translationReport } from "./pc-inspection.js";
import type { PseriesBoard } from "./pseries.js";

const PAGE = 4096;
const hex = (n: number): string => `0x${n.toString(16)}`;

export function pseriesReport(board: PseriesBoard, topic: ReportTopic, cpu: number): string {
  switch (topic) {
    case "pic":
      return `${board.xiveActive ? board.xive.report() : board.xics.report()}irqchip: emulated\n`;
    case "irq":
      return "IRQ statistics are not counted on this machine\n";
    case "jit":
      return translationReport(board.processors.engine);
    case "kvm":
      return "kvm support: disabled\n";
    case "tlb":
    case "mem":
      return tlb(board, cpu);
  }
}

/** Translations that the vCPU has at hand, by MMU index. */
function tlb(board: PseriesBoard, cpu: number): string {
  const env = board.processors.engine.envOf(cpu);
  const out: string[] = [];
  const { u32 } = board.ram;
  for (let mmu = 0; mmu < L.TLB_MODES; mmu++)
    for (let i = 0; i < 1 << L.TLB_BITS; i++) {
      const e = (env + L.TLB + mmu * L.TLB_MMU_SIZE + i * L.TLB_ENTRY) >>> 2;
      const tags = [u32[e]!, u32[e + 2]!, u32[e + 4]!];
      const k = tags.findIndex((t) => !(t & L.TAG_INVALID));
      if (k < 0) continue;
      const effective = (BigInt(u32[e + 2 * k + 1]!) << 32n) | BigInt((tags[k]! & -PAGE) >>> 0);
      const rwx = tags.map((t, j) => (t & L.TAG_INVALID ? "-" : "rwx"[j])).join("");
      const physical = (u32[e + (L.TLB_PHYS >>> 2)]! & 0xfffffff) * PAGE;
      out.push(`${effective.toString(16).padStart(16, "0")}: ${physical.toString(16).padStart(10, "0")} ${rwx} mmu${mmu}`);
    }
  return `${out.join("\n")}\n`;
}

/** The main system bus. */
export function pseriesTree(board: PseriesBoard): BusNode {
  const plain = (d: Device): DeviceNode => ({ type: d.type, id: d.id, props: [], buses: [] });
  const unit = (d: Device & { readonly unit: number }): DeviceNode => ({ ...plain(d), props: [["reg", hex(d.unit)]] });
  return {
    name: "main-system-bus",
    type: "System",
    devices: [
      {
        type: board.pci.type,
        props: [],
        buses: [
          {
            name: "pci.0",
            type: "PCI",
            devices: board.pciFunctions().map(({ device }) => ({
              ...plain(device),
              props: [["addr", formatPciAddress(device.devfn)]],
            })),
          },
        ],
      },
      {
        type: "spapr-vio-bridge",
        props: [],
        buses: [{ name: "spapr-vio", type: "spapr-vio-bus", devices: [...board.ttys.map(unit), unit(board.nvram)] }],
      },
      plain(board.xiveActive ? board.xive : board.xics),
    ],
  };
}

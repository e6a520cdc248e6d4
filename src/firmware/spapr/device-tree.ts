/**
 * The device tree of a pseries machine: what SLOF and a kernel started directly get in r3, and what a partition's kernel gets
 * again from client-architecture-support.
 * Source: LoPAR appendix B (device tree bindings); property values as QEMU 7.2's pseries machine has them.
 * Not there: hot-plug connectors (ibm,drc-*), NUMA, EEH, dynamic DMA windows.
 */
import { IrqSense, SpaprIrq } from "../../hw/spapr/irq.js";
import { NVRAM_BYTES } from "../../hw/spapr/nvram.js";
import type { SpaprPciHost } from "../../hw/spapr/pci-host.js";
import { XIVE_PAGE_SHIFT, XIVE_PRIORITIES, XIVE_TIMA_OS, XIVE_TIMA_USER } from "../../hw/spapr/xive.js";
import { XIVE_QUEUE_SHIFTS } from "../../hw/spapr/xive-calls.js";
import { cells64, FdtNode } from "../fdt/tree.js";
import { INTC_PHANDLE, pciHostNode } from "./pci-nodes.js";

/** A processor model as the tree describes it. */
export interface TreeCpu {
  /** "POWER9". */
  readonly name: string;
  /** What cpu-version says: the processor's version, or the architecture level agreed on. */
  readonly version: number;
  readonly isa300: boolean;
  readonly slbEntries: number;
  readonly cacheLineBytes: number;
  readonly timeBaseHz: number;
  /** Absent: the decrementer has 32 bits. */
  readonly decrementerBits: number | undefined;
}

/** How a kernel that was not loaded by firmware is started. */
export interface TreeKernel {
  readonly address: number;
  readonly size: number;
  readonly littleEndian: boolean;
}

export interface SpaprTree {
  readonly cpu: TreeCpu;
  /** vCPUs, numbered from 0. */
  readonly cpus: number;
  readonly memoryBytes: number;
  readonly hptShift: number;
  readonly uuid: string | undefined;
  readonly name: string | undefined;
  readonly ttys: readonly { readonly unit: number; readonly irq: number }[];
  readonly nvram: { readonly unit: number; readonly irq: number };
  readonly pci: SpaprPciHost;
  readonly rtas: readonly { readonly name: string; readonly token: number }[];
  /** Sets of hypervisor calls, as ibm,hypertas-functions names them. */
  readonly hypertas: readonly string[];
  /** The interrupt controller, and whether the guest may ask for the other. */
  readonly interrupts: "xics" | "xive";
  readonly interruptChoice: boolean;
  readonly random: boolean;
  readonly rngSeed: Uint8Array;
  readonly graphic: { readonly width: number; readonly height: number; readonly depth: number };
  readonly bootargs: string | undefined;
  readonly initrd: { readonly start: number; readonly end: number } | undefined;
  /** Before client-architecture-support: what may be asked for. After it: option vector 5 as agreed, byte 1 first. */
  readonly vector5: Uint8Array | undefined;
  /** With a start by firmware. */
  readonly kernel: TreeKernel | undefined;
  readonly bootMenu: boolean;
  readonly bootOrder: string | undefined;
  readonly bootList: readonly string[];
  /** With a start without firmware: where the RTAS code lies. */
  readonly rtasBase: number | undefined;
}

/** Bytes kept for RTAS: its code and an error log. */
export const RTAS_SIZE = 0x1000;
const ERROR_LOG_MAX = 0x800;
const CLOCK_HZ = 1_000_000_000;
const CACHE_BYTES = 0x8000;

/** Processor features (LoPAR §B.5.2), without decimal floating point and transactional memory. */
const PA_FEATURES_207 = "1800 f63fc7c080f0 800000000000 000000008000 800080000000";
const PA_FEATURES_300 =
  "4200 f63fc7c080f0 800000000000 000000008000 800080000000 800080008000 80008000c000 800080008000 " +
  "800080008000 800080008000 000080008000 800080000000";

function bytesOf(hex: string): Uint8Array {
  const digits = hex.replaceAll(" ", "");
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

/** Bytes of ibm,arch-vec-5-platform-support: pairs of an index into option vector 5 and what is there. */
const Support = { xive: 0x17, mmu: 0x18, hash: 0x19, radix: 0x1a } as const;
const XICS_ONLY = 0x00;
const XIVE_ONLY = 0x40;
const XICS_OR_XIVE = 0x80;
const MMU_HASH_ONLY = 0x00;
const MMU_EITHER = 0xc0;
const RADIX_GTSE = 0x40;

export function spaprTree(t: SpaprTree): FdtNode {
  const root = new FdtNode("").setAll({
    device_type: "chrp",
    model: "IBM pSeries (emulated by qemu)",
    compatible: "qemu,pseries",
    "vm,uuid": t.uuid ?? "00000000-0000-0000-0000-000000000000",
    "system-id": t.uuid,
    "ibm,partition-name": t.name,
    "#address-cells": 2,
    "#size-cells": 2,
  });
  root.children.push(
    chosen(t),
    rtas(t),
    eventSources(),
    cpus(t),
    pciHostNode(t.pci, t.rtasBase !== undefined),
    vdevice(t),
    memory(t),
    t.interrupts === "xive" ? xive(t) : xics(t),
  );
  // Priorities that the hypervisor keeps: from 7 on.
  if (t.interrupts === "xive") root.set("ibm,plat-res-int-priorities", [XIVE_PRIORITIES, 0xff - XIVE_PRIORITIES]);
  if (t.random)
    root
      .child("ibm,platform-facilities")
      .setAll({ device_type: "ibm,platform-facilities", "#address-cells": 1, "#size-cells": 0 })
      .child("ibm,random-v1")
      .setAll({ device_type: "ibm,random-v1", compatible: "ibm,random", reg: 0 });
  return root;
}

function xics(t: SpaprTree): FdtNode {
  return new FdtNode("interrupt-controller").setAll({
    device_type: "PowerPC-External-Interrupt-Presentation",
    compatible: "IBM,ppc-xicp",
    "interrupt-controller": true,
    "ibm,interrupt-server-ranges": [0, t.cpus],
    "#interrupt-cells": 2,
    "linux,phandle": INTC_PHANDLE,
    phandle: INTC_PHANDLE,
  });
}

function xive(t: SpaprTree): FdtNode {
  const page = 2 ** XIVE_PAGE_SHIFT;
  return new FdtNode(`interrupt-controller@${XIVE_TIMA_USER.toString(16)}`).setAll({
    device_type: "power-ivpe",
    compatible: "ibm,power-ivpe",
    reg: [...cells64(XIVE_TIMA_USER), ...cells64(page), ...cells64(XIVE_TIMA_OS), ...cells64(page)],
    "ibm,xive-eq-sizes": XIVE_QUEUE_SHIFTS,
    "ibm,xive-lisn-ranges": [0, t.cpus],
    "interrupt-controller": true,
    "#interrupt-cells": 2,
    "linux,phandle": INTC_PHANDLE,
    phandle: INTC_PHANDLE,
  });
}

function chosen(t: SpaprTree): FdtNode {
  const tty = t.ttys[0];
  const path = tty && `/vdevice/vty@${tty.unit.toString(16)}`;
  const mmu = t.cpu.isa300 ? MMU_EITHER : MMU_HASH_ONLY;
  const node = new FdtNode("chosen").setAll({
    bootargs: t.bootargs ?? "",
    // One cell each: SLOF hands them on in registers.
    "linux,initrd-start": t.initrd?.start,
    "linux,initrd-end": t.initrd?.end,
    "qemu,boot-kernel": t.kernel && [...cells64(t.kernel.address), ...cells64(t.kernel.size)],
    "qemu,boot-kernel-le": t.kernel?.littleEndian ? true : undefined,
    "qemu,boot-menu": t.bootMenu ? 1 : undefined,
    "qemu,boot-list": t.bootList.length > 0 ? t.bootList.join("\n") : undefined,
    "qemu,boot-device": t.bootOrder,
    "qemu,graphic-width": t.graphic.width,
    "qemu,graphic-height": t.graphic.height,
    "qemu,graphic-depth": t.graphic.depth,
    "linux,stdout-path": path,
    "stdout-path": path,
    "linux,pci-probe-only": 0,
    "ibm,arch-vec-5-platform-support": Uint8Array.of(
      Support.xive,
      t.interruptChoice ? XICS_OR_XIVE : t.interrupts === "xive" ? XIVE_ONLY : XICS_ONLY,
      Support.mmu,
      mmu,
      Support.hash,
      0,
      Support.radix,
      RADIX_GTSE,
    ),
    "rng-seed": t.rngSeed,
  });
  // The vector's length less one, then its bytes.
  const v = t.vector5;
  node.set("ibm,architecture-vec-5", v && v.length > 0 ? Uint8Array.of(v.length - 1, ...v) : Uint8Array.of(0, 0));
  return node;
}

/** RTAS services that only XICS has. */
const XICS_SERVICES = ["ibm,set-xive", "ibm,get-xive", "ibm,int-off", "ibm,int-on"];

function rtas(t: SpaprTree): FdtNode {
  const node = new FdtNode("rtas").setAll({
    "ibm,hypertas-functions": t.hypertas,
    "qemu,hypertas-functions": "hcall-memop1",
    "rtas-size": RTAS_SIZE,
    "rtas-error-log-max": ERROR_LOG_MAX,
    "rtas-event-scan-rate": 1,
    "ibm,change-msix-capable": true,
    "linux,rtas-base": t.rtasBase,
    "linux,rtas-entry": t.rtasBase,
  });
  for (const { name, token } of t.rtas) if (t.interrupts === "xics" || !XICS_SERVICES.includes(name)) node.set(name, token);
  return node;
}

function eventSources(): FdtNode {
  const node = new FdtNode("event-sources").setAll({
    "interrupt-controller": true,
    "#interrupt-cells": 2,
    "interrupt-ranges": [SpaprIrq.epow, 1],
  });
  node.child("epow-events").set("interrupts", [SpaprIrq.epow, IrqSense.edge]);
  return node;
}

function cpus(t: SpaprTree): FdtNode {
  const node = new FdtNode("cpus").setAll({ "#address-cells": 1, "#size-cells": 0 });
  const c = t.cpu;
  for (let i = 0; i < t.cpus; i++)
    node.child(`PowerPC,${c.name}@${i.toString(16)}`).setAll({
      reg: i,
      device_type: "cpu",
      "cpu-version": c.version,
      "d-cache-block-size": c.cacheLineBytes,
      "d-cache-line-size": c.cacheLineBytes,
      "i-cache-block-size": c.cacheLineBytes,
      "i-cache-line-size": c.cacheLineBytes,
      "d-cache-size": CACHE_BYTES,
      "i-cache-size": CACHE_BYTES,
      "timebase-frequency": c.timeBaseHz,
      "clock-frequency": CLOCK_HZ,
      "slb-size": c.slbEntries,
      "ibm,slb-size": c.slbEntries,
      status: "okay",
      "64-bit": true,
      "ibm,processor-segment-sizes": [0x1c, 0x28, 0xffffffff, 0xffffffff],
      // VMX and VSX.
      "ibm,vmx": 2,
      // Segments of 4 KiB and 64 KiB pages; each: base page shift, SLB encoding, one page size with its encoding.
      "ibm,segment-page-sizes": [12, 0, 1, 12, 0, 16, 0x110, 1, 16, 1],
      "ibm,pa-features": bytesOf(c.isa300 ? PA_FEATURES_300 : PA_FEATURES_207),
      "ibm,chip-id": 0,
      "ibm,pft-size": [0, t.hptShift],
      "ibm,ppc-interrupt-server#s": i,
      "ibm,ppc-interrupt-gserver#s": [i, 0],
      // 4 KiB, 64 KiB, 2 MiB, 1 GiB: AP encoding in the top three bits, page shift below.
      "ibm,processor-radix-AP-encodings": c.isa300 ? [0x0000000c, 0xa0000010, 0x20000015, 0x4000001e] : undefined,
      "ibm,dec-bits": c.decrementerBits,
    });
  return node;
}

function vdevice(t: SpaprTree): FdtNode {
  const node = new FdtNode("vdevice").setAll({
    device_type: "vdevice",
    compatible: "IBM,vdevice",
    "#address-cells": 1,
    "#size-cells": 0,
    "#interrupt-cells": 2,
    "interrupt-controller": true,
  });
  for (const { unit, irq } of t.ttys)
    node.child(`vty@${unit.toString(16)}`).setAll({
      reg: unit,
      device_type: "serial",
      compatible: "hvterm1",
      interrupts: [irq, IrqSense.edge],
    });
  node.child(`nvram@${t.nvram.unit.toString(16)}`).setAll({
    reg: t.nvram.unit,
    device_type: "nvram",
    compatible: "qemu,spapr-nvram",
    interrupts: [t.nvram.irq, IrqSense.edge],
    "#bytes": NVRAM_BYTES,
  });
  return node;
}

function memory(t: SpaprTree): FdtNode {
  return new FdtNode("memory@0").setAll({ device_type: "memory", reg: [0, 0, ...cells64(t.memoryBytes)] });
}

/**
 * The fw_cfg items that describe the machine itself: sizes, processors, memory map.
 * Source: QEMU's fw_cfg specification; SeaBIOS, docs/Runtime_config.md and what its 1.16 release reads.
 */
import { ByteWriter } from "./bytes.js";
import { type E820Entry, encodeE820, ramE820 } from "./e820.js";
import { type FwCfg, FwCfgKey } from "./fw-cfg.js";

/** A NUMA node: which vCPUs it has, and how much memory. */
export interface NumaNode {
  readonly cpus: readonly number[];
  readonly bytes: number;
}

export interface MachineItems {
  readonly ram: { readonly belowBytes: number; readonly aboveBytes: number };
  readonly cpus: number;
  /** vCPUs that may be plugged, the ones present included. */
  readonly maxCpus: number;
  /** One more than the highest APIC id that may appear. */
  readonly apicIdLimit: number;
  readonly uuid?: Uint8Array | undefined;
  readonly noGraphic: boolean;
  /** Ranges that are not for the operating system. */
  readonly reserved?: readonly E820Entry[];
  readonly numa?: readonly NumaNode[];
  readonly s3: boolean;
  readonly s4: boolean;
  readonly s4SleepType: number;
  /** HPET blocks: address, timer block id. */
  readonly hpet?: { readonly base: number } | undefined;
  /** Put SeaBIOS's own messages and screen on a serial port as well (`-nographic`). */
  readonly serialConsolePort?: number | undefined;
  /** First address that firmware may give to 64-bit PCI memory, when memory can be plugged. */
  readonly reservedMemoryEnd?: number | undefined;
}

const STATE_ENABLED = 0x80;
const HPET_BLOCK_ID = 0x8086a201;

/** Adds every item that does not depend on devices. */
export function addMachineItems(fwCfg: FwCfg, m: MachineItems): void {
  fwCfg.addItem(FwCfgKey.uuid, m.uuid ?? new Uint8Array(16));
  fwCfg.addU64(FwCfgKey.ramSize, m.ram.belowBytes + m.ram.aboveBytes);
  fwCfg.addU16(FwCfgKey.noGraphic, m.noGraphic ? 1 : 0);
  fwCfg.addU16(FwCfgKey.nbCpus, m.cpus);
  fwCfg.addU16(FwCfgKey.maxCpus, m.apicIdLimit);
  fwCfg.addItem(FwCfgKey.numa, numaItem(m));
  // The timer's IRQ 0 is on I/O APIC input 2.
  fwCfg.addU32(FwCfgKey.irq0Override, 1);
  fwCfg.addItem(FwCfgKey.hpet, hpetItem(m));
  fwCfg.addFile("etc/e820", encodeE820(ramE820(m.ram.belowBytes, m.ram.aboveBytes, m.reserved)));
  fwCfg.addFile("etc/system-states", systemStates(m));
  if (m.serialConsolePort !== undefined) fwCfg.addFile("etc/sercon-port", new ByteWriter(2).u16(m.serialConsolePort).finish());
  if (m.reservedMemoryEnd !== undefined)
    fwCfg.addFile("etc/reserved-memory-end", new ByteWriter(8).u64(m.reservedMemoryEnd).finish());
}

/** One byte a sleep state: bit 7 it exists, below the value for SLP_TYP. */
function systemStates(m: MachineItems): Uint8Array {
  return Uint8Array.of(
    STATE_ENABLED,
    0,
    0,
    (m.s3 ? STATE_ENABLED : 0) | 1,
    (m.s4 ? STATE_ENABLED : 0) | m.s4SleepType,
    STATE_ENABLED,
  );
}

/** Node count, then a node number an APIC id, then a size a node; 64 bits each. */
function numaItem(m: MachineItems): Uint8Array {
  const nodes = m.numa ?? [];
  const w = new ByteWriter(64).u64(nodes.length);
  for (let id = 0; id < m.apicIdLimit; id++)
    w.u64(
      Math.max(
        0,
        nodes.findIndex((n) => n.cpus.includes(id)),
      ),
    );
  for (const n of nodes) w.u64(n.bytes);
  return w.finish();
}

/** A count, then eight blocks: timer block id, address, minimum tick, page protection; packed. */
function hpetItem(m: MachineItems): Uint8Array {
  const w = new ByteWriter(128).u8(m.hpet ? 1 : 0xff);
  for (let i = 0; i < 8; i++) {
    const present = i === 0 && m.hpet;
    w.u32(present ? HPET_BLOCK_ID : 0)
      .u64(present ? present.base : 0)
      .u16(0)
      .u8(0);
  }
  return w.finish();
}

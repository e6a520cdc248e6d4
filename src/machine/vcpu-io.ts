/** Accesses that left the guest, carried out on the machine's address spaces. */
import type { VcpuExit } from "../accel/exits.js";
import type { AddressSpace } from "../memory/address-space.js";

/** A port access of a vCPU: each item to the port space, or from it. */
export function servePort(io: AddressSpace, e: Extract<VcpuExit, { kind: "io" }>): void {
  for (let i = 0, at = e.at; i < e.count; i++, at += e.size) {
    if (e.direction === "in") {
      const v = io.read(e.port, e.size);
      if (e.size === 1) e.data.setUint8(at, v);
      else if (e.size === 2) e.data.setUint16(at, v, true);
      else e.data.setUint32(at, v, true);
    } else
      io.write(
        e.port,
        e.size,
        e.size === 1 ? e.data.getUint8(at) : e.size === 2 ? e.data.getUint16(at, true) : e.data.getUint32(at, true),
      );
  }
}

/** A memory access of a vCPU that reached a device: in pieces of at most four bytes, the low one first. */
export function serveMmio(memory: AddressSpace, e: Extract<VcpuExit, { kind: "mmio" }>): void {
  for (let i = 0; i < e.size; ) {
    const left = e.size - i;
    const n = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    const at = e.at + i;
    if (e.write)
      memory.write(
        e.address + i,
        n,
        n === 4 ? e.data.getUint32(at, true) : n === 2 ? e.data.getUint16(at, true) : e.data.getUint8(at),
      );
    else {
      const v = memory.read(e.address + i, n);
      if (n === 4) e.data.setUint32(at, v, true);
      else if (n === 2) e.data.setUint16(at, v, true);
      else e.data.setUint8(at, v);
    }
    i += n;
  }
}

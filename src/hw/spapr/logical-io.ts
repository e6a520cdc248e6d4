/**
 * Memory and devices by their real address, for code that cannot make the access itself (firmware in real mode).
 * Source: LoPAR §14.5.4.2 (H_LOGICAL_CI_LOAD and _STORE); H_LOGICAL_MEMOP is QEMU's own (docs/specs/ppc-spapr-hcalls).
 */
import type { AddressSpace } from "../../memory/address-space.js";
import { Hcall, type HcallFrame, type HcallTable, HStatus } from "./hcall.js";

/** Bytes that one H_LOGICAL_MEMOP may move. */
const MEMOP_MAX_BYTES = 64 * 2 ** 20;
const CHUNK = 65536;
const MemOp = { copy: 0, xor: 1 } as const;

export function addLogicalHcalls(table: HcallTable, memory: AddressSpace): void {
  // r4 size, r5 address: the value is as a big-endian processor would load it from a device.
  table.on(Hcall.H_LOGICAL_CI_LOAD, (f) => load(memory, f));
  table.on(Hcall.H_LOGICAL_CACHE_LOAD, (f) => load(memory, f));
  table.on(Hcall.H_LOGICAL_CI_STORE, (f) => store(memory, f));
  table.on(Hcall.H_LOGICAL_CACHE_STORE, (f) => store(memory, f));
  // There are no caches.
  table.on(Hcall.H_LOGICAL_ICBI, () => HStatus.H_SUCCESS);
  table.on(Hcall.H_LOGICAL_DCBF, () => HStatus.H_SUCCESS);
  table.on(Hcall.KVMPPC_H_LOGICAL_MEMOP, (f) => memop(memory, f));
}

function load(memory: AddressSpace, f: HcallFrame): number {
  const size = f.arg(0);
  const at = f.arg(1);
  if (size === 1 || size === 2 || size === 4) {
    f.result(0, swap(memory.read(at, size), size));
    return HStatus.H_SUCCESS;
  }
  if (size !== 8) return HStatus.H_PARAMETER;
  f.result64(0, swap(memory.read(at, 4), 4), swap(memory.read(at + 4, 4), 4));
  return HStatus.H_SUCCESS;
}

function store(memory: AddressSpace, f: HcallFrame): number {
  const size = f.arg(0);
  const at = f.arg(1);
  if (size === 1 || size === 2 || size === 4) {
    memory.write(at, size, swap(size === 4 ? f.lo(2) : f.lo(2) & (2 ** (8 * size) - 1), size));
    return HStatus.H_SUCCESS;
  }
  if (size !== 8) return HStatus.H_PARAMETER;
  memory.write(at, 4, swap(f.hi(2), 4));
  memory.write(at + 4, 4, swap(f.lo(2), 4));
  return HStatus.H_SUCCESS;
}

function swap(value: number, size: 1 | 2 | 4): number {
  if (size === 1) return value;
  if (size === 2) return ((value & 0xff) << 8) | (value >>> 8);
  return ((value << 24) | ((value & 0xff00) << 8) | ((value >>> 8) & 0xff00) | (value >>> 24)) >>> 0;
}

/** r4 destination, r5 source, r6 log2 of the element's size, r7 elements, r8 operation. */
function memop(memory: AddressSpace, f: HcallFrame): number {
  const [to, from, shift, count, op] = [f.arg(0), f.arg(1), f.arg(2), f.arg(3), f.arg(4)];
  if (shift > 3 || (op !== MemOp.copy && op !== MemOp.xor)) return HStatus.H_PARAMETER;
  const size = 2 ** shift;
  const length = count * size;
  if (to % size || from % size || !(length <= MEMOP_MAX_BYTES)) return HStatus.H_PARAMETER;
  // Backwards where the destination overlaps the source from above.
  const backwards = op === MemOp.copy && to > from && to < from + length;
  const data = new Uint8Array(Math.min(length, CHUNK));
  for (let done = 0; done < length; ) {
    const n = Math.min(CHUNK, length - done);
    const at = backwards ? length - done - n : done;
    const part = data.subarray(0, n);
    memory.readBytes(from + at, part);
    if (op === MemOp.xor) for (let i = 0; i < n; i++) part[i]! ^= 0xff;
    memory.writeBytes(to + at, part);
    done += n;
  }
  return HStatus.H_SUCCESS;
}

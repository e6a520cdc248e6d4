/** Hypervisor calls in tests: a frame over plain registers. */
import { Trace } from "../src/base/trace.js";
import type { HcallFrame, HcallTable } from "../src/hw/spapr/hcall.js";
import { AddressSpace } from "../src/memory/address-space.js";
import { GuestRam } from "../src/memory/ram.js";

/** Makes a call. @returns r3 and the registers from r4 on after it */
export function hcall(
  table: HcallTable,
  code: number,
  args: readonly (bigint | number)[],
  cpu = 0,
): { status: number; r: bigint[] } {
  const r = Array.from({ length: 9 }, (_, i) => BigInt.asUintN(64, BigInt(args[i] ?? 0)));
  const frame: HcallFrame = {
    cpu,
    arg: (i) => Number(r[i]!),
    lo: (i) => Number(r[i]! & 0xffffffffn),
    hi: (i) => Number(r[i]! >> 32n),
    result(i, value) {
      r[i] = BigInt(value);
    },
    result64(i, hi, lo) {
      r[i] = (BigInt(hi >>> 0) << 32n) | BigInt(lo >>> 0);
    },
  };
  return { status: table.call(code, frame), r };
}

/** A machine's memory of 1 MiB at 0, and room for a table outside it. */
export function partition(): { memory: AddressSpace; ram: GuestRam; trace: Trace } {
  const ram = new GuestRam(0, 4 * 2 ** 20, false);
  const memory = new AddressSpace("memory", 2 ** 51, ram);
  memory.map(0, 2 ** 20, { kind: "ram", block: ram.allocate("ram", 2 ** 20), offset: 0 });
  return { memory, ram, trace: new Trace() };
}

/**
 * spapr-nvram: 64 KiB of memory that outlives a reset, reached through RTAS.
 * Source: LoPAR §7.3.1 (nvram-fetch, nvram-store), §9.5 (partitions).
 * Not emulated: a backing drive; the contents last as long as the machine.
 */
import type { Device, DeviceState } from "../core/device.js";
import { type Rtas, RtasStatus } from "./rtas.js";

export const NVRAM_BYTES = 0x10000;

export class SpaprNvram implements Device {
  readonly type = "spapr-nvram";
  private readonly bytes = new Uint8Array(NVRAM_BYTES);

  constructor(readonly unit: number) {
    this.bytes.set(freePartition(NVRAM_BYTES));
  }

  addServices(rtas: Rtas): void {
    const range = (offset: number, length: number) => offset <= NVRAM_BYTES && length <= NVRAM_BYTES - offset;
    rtas.add(
      {
        name: "nvram-fetch",
        args: 3,
        returns: 2,
        call: (c) => {
          const [offset, buffer, length] = c.args as [number, number, number];
          c.set(1, 0);
          if (!range(offset, length)) return RtasStatus.parameterError;
          if (!c.memory.writeBytes(buffer, this.bytes.subarray(offset, offset + length))) return RtasStatus.hardwareError;
          c.set(1, length);
          return RtasStatus.success;
        },
      },
      {
        name: "nvram-store",
        args: 3,
        returns: 2,
        call: (c) => {
          const [offset, buffer, length] = c.args as [number, number, number];
          c.set(1, 0);
          if (!range(offset, length)) return RtasStatus.parameterError;
          const data = new Uint8Array(length);
          if (!c.memory.readBytes(buffer, data)) return RtasStatus.hardwareError;
          this.bytes.set(data, offset);
          c.set(1, length);
          return RtasStatus.success;
        },
      },
    );
  }

  /** What is stored stays. */
  reset(): void {}

  save(): DeviceState {
    return { bytes: this.bytes.slice() };
  }

  restore(state: DeviceState): void {
    this.bytes.set((state.bytes as Uint8Array).subarray(0, NVRAM_BYTES));
  }
}

/** The header of a partition of free space: signature, checksum, length in blocks of 16 bytes, name. */
function freePartition(length: number): Uint8Array {
  const blocks = length / 16;
  const header = Uint8Array.of(0x7f, 0, blocks >> 8, blocks & 255, ...new Array<number>(12).fill(0x77));
  let sum = 0;
  for (const byte of header) {
    sum += byte;
    if (sum > 0xff) sum = (sum & 0xff) + 1;
  }
  header[1] = sum;
  return header;
}

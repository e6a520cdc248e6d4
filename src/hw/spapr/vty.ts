/**
 * spapr-vty: the virtual terminal behind H_PUT_TERM_CHAR and H_GET_TERM_CHAR ("hvterm1").
 * Source: LoPAR §16.2 (virtual terminal option).
 */
import type { Chardev, ChardevFrontend } from "../../host/chardev.js";
import type { Device, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { Hcall, type HcallTable, HStatus } from "./hcall.js";

/** The most that one call carries. */
const CALL_BYTES = 16;
const BUFFER_BYTES = 256;

export const spaprVtyType: DeviceType = {
  name: "spapr-vty",
  aliases: [],
  bus: "spapr-vio",
  category: "input",
  description: "virtual terminal of a PAPR machine",
  properties: [
    { name: "chardev", type: "chardev", default: undefined, description: "Chardev to use as backend" },
    { name: "reg", type: "uint32", default: undefined, description: "unit address; default: the next from 0x71000000" },
  ],
};

/** One terminal. */
export class SpaprVty implements Device, ChardevFrontend {
  readonly type = spaprVtyType.name;
  private readonly buffer = new Uint8Array(BUFFER_BYTES);
  private first = 0;
  private count = 0;

  /**
   * @param unit the unit address, by which calls name it
   * @param interrupt tells the guest that there is input
   */
  constructor(
    readonly unit: number,
    private readonly chardev: Chardev | undefined,
    private readonly interrupt: () => void,
    readonly id?: string | undefined,
  ) {
    chardev?.attach(this);
  }

  canReceive(): number {
    return BUFFER_BYTES - this.count;
  }

  receive(data: Uint8Array): void {
    const n = Math.min(data.length, this.canReceive());
    for (let i = 0; i < n; i++) this.buffer[(this.first + this.count++) % BUFFER_BYTES] = data[i]!;
    if (n > 0) this.interrupt();
  }

  write(data: Uint8Array): void {
    this.chardev?.write(data);
  }

  /** Takes up to 16 bytes. */
  take(): Uint8Array {
    const out = new Uint8Array(Math.min(this.count, CALL_BYTES));
    for (let i = 0; i < out.length; i++) out[i] = this.buffer[(this.first + i) % BUFFER_BYTES]!;
    this.first = (this.first + out.length) % BUFFER_BYTES;
    this.count -= out.length;
    if (out.length > 0) this.chardev?.resume();
    return out;
  }

  reset(): void {
    this.first = this.count = 0;
    this.chardev?.resume();
  }

  save(): DeviceState {
    return { input: Uint8Array.from({ length: this.count }, (_, i) => this.buffer[(this.first + i) % BUFFER_BYTES]!) };
  }

  restore(state: DeviceState): void {
    const input = (state.input as Uint8Array).subarray(0, BUFFER_BYTES);
    this.buffer.set(input);
    this.first = 0;
    this.count = input.length;
  }

  dispose(): void {
    this.chardev?.attach(undefined);
  }
}

/** Adds the two calls. Unit 0 is the first terminal. */
export function addVtyHcalls(table: HcallTable, ttys: readonly SpaprVty[]): void {
  const find = (unit: number) => (unit === 0 ? ttys[0] : ttys.find((t) => t.unit === unit));
  table.on(Hcall.H_PUT_TERM_CHAR, (f) => {
    const tty = find(f.arg(0));
    const length = f.arg(1);
    if (!tty || length > CALL_BYTES) return HStatus.H_PARAMETER;
    const bytes = new Uint8Array(CALL_BYTES);
    const view = new DataView(bytes.buffer);
    for (const i of [0, 1]) {
      view.setUint32(8 * i, f.hi(2 + i));
      view.setUint32(8 * i + 4, f.lo(2 + i));
    }
    tty.write(bytes.slice(0, length));
    return HStatus.H_SUCCESS;
  });
  table.on(Hcall.H_GET_TERM_CHAR, (f) => {
    const tty = find(f.arg(0));
    if (!tty) return HStatus.H_PARAMETER;
    const input = tty.take();
    const bytes = new Uint8Array(CALL_BYTES);
    bytes.set(input);
    const view = new DataView(bytes.buffer);
    f.result(0, input.length);
    for (const i of [0, 1]) f.result64(1 + i, view.getUint32(8 * i), view.getUint32(8 * i + 4));
    return HStatus.H_SUCCESS;
  });
}

/**
 * pci-testdev (1b36:0005): the helper device of kvm-unit-tests for accesses to PCI memory and port BARs.
 *
 * Source: QEMU's specification "pci-testdev" (docs/specs). Both BARs begin with a header: test number (offset 0, written to
 * select), width (1), offset (4), data (8), count (12), name (16, zero-terminated). Writing `data` at BAR + `offset`
 * raises `count`; a test that matches data ignores other values.
 *
 * BAR0 is 4 KiB of memory, BAR1 256 bytes of ports; each half of a BAR: header, then the place to write to.
 *
 * *Not emulated*: eventfds (all variants count alike), the optional RAM BAR2.
 */
import type { AccessSize, IoHandler } from "../../memory/address-space.js";
import type { DeviceContext, DeviceState } from "../core/device.js";
import type { DeviceType } from "../core/device-type.js";
import { PciDevice } from "../pci/device.js";

const Header = { test: 0, width: 1, offset: 4, data: 8, count: 12, name: 16 } as const;
const MEMORY_HALF = 2048;
const PORT_HALF = 128;
const DATA = 0xfa;
const WIDTH = 1;

interface IoTest {
  readonly name: string;
  readonly space: "memory" | "ports";
  readonly offset: number;
  readonly matchData: boolean;
}

const KINDS = ["no-eventfd", "wildcard-eventfd", "datamatch-eventfd"] as const;
const TESTS: readonly IoTest[] = [
  ...KINDS.map((kind, n) => ({
    name: `mmio-${kind}`,
    space: "memory" as const,
    offset: MEMORY_HALF + n * WIDTH,
    matchData: kind !== "wildcard-eventfd",
  })),
  ...KINDS.map((kind, n) => ({
    name: `portio-${kind}`,
    space: "ports" as const,
    offset: PORT_HALF + (n + KINDS.length) * WIDTH,
    matchData: kind !== "wildcard-eventfd",
  })),
];

export class PciTestdev extends PciDevice {
  readonly type = "pci-testdev";
  /** Index of the running test, or -1. */
  private current = -1;
  private count = 0;

  constructor(ctx: DeviceContext, id?: string) {
    super(ctx, { vendor: 0x1b36, device: 0x0005, class: 0x00ff00 }, id);
    this.addBar(0, "mem32", MEMORY_HALF * 2, this.handler("memory"));
    this.addBar(1, "io", PORT_HALF * 2, this.handler("ports"));
  }

  private handler(space: IoTest["space"]): IoHandler {
    return {
      name: `pci-testdev-${space}`,
      read: (offset, size) => {
        let v = 0;
        for (let i = size - 1; i >= 0; i--) v = v * 256 + this.byte(offset + i);
        return v;
      },
      write: (offset, size, value) => this.access(space, offset, size, value),
    };
  }

  /** One byte of the running test's header. */
  private byte(offset: number): number {
    const t = TESTS[this.current];
    if (!t) return 0;
    const word = (v: number, at: number) => (v >>> (8 * (offset - at))) & 0xff;
    if (offset >= Header.name) {
      const c = t.name.charCodeAt(offset - Header.name);
      return Number.isNaN(c) ? 0 : c;
    }
    if (offset >= Header.count) return word(this.count, Header.count);
    if (offset >= Header.data) return offset === Header.data ? DATA : 0;
    if (offset >= Header.offset) return word(t.offset, Header.offset);
    return offset === Header.test ? this.current : offset === Header.width ? WIDTH : 0;
  }

  private access(space: IoTest["space"], offset: number, _size: AccessSize, value: number): void {
    if (offset === Header.test) {
      this.count = 0;
      this.current = TESTS[value & 0xff]?.space === space ? value & 0xff : -1;
      return;
    }
    const t = TESTS[this.current];
    if (!t || t.space !== space || offset !== t.offset) return;
    if (!t.matchData || (value & 0xff) === DATA) this.count = (this.count + 1) >>> 0;
  }

  override reset(): void {
    super.reset();
    this.current = -1;
    this.count = 0;
  }

  override save(): DeviceState {
    return { ...super.save(), current: this.current, count: this.count };
  }

  override restore(state: DeviceState): void {
    super.restore(state);
    this.current = state.current as number;
    this.count = state.count as number;
  }
}

export const pciTestdevType: DeviceType = {
  name: "pci-testdev",
  aliases: [],
  bus: "pci",
  category: "misc",
  description: "helper of kvm-unit-tests for PCI accesses",
  properties: [],
};

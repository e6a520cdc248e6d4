/** A board without a guest, and a host without an outside, for tests of what stands around them. */
import { VmError } from "../base/errors.js";
import type { Drive } from "../block/backend.js";
import type { HostFile } from "../host/file.js";
import type { Host } from "../host/host.js";
import { AddressSpace } from "../memory/address-space.js";
import { GuestRam } from "../memory/ram.js";
import type { Board, BoardParts, BoardRequest, BusNode } from "./board.js";
import type { MachineConfig } from "./config.js";

/** Records what the machine does to it; `request` plays the guest. */
export class FakeBoard implements Board {
  readonly accelerator = "tcg";
  running = false;
  onRequest: (request: BoardRequest) => void = () => {};
  readonly log: string[] = [];
  readonly memory: AddressSpace;
  readonly io: AddressSpace;
  private readonly driveList: Drive[];

  constructor(
    config: MachineConfig,
    readonly parts: BoardParts,
  ) {
    const ram = new GuestRam(0, 65536, false);
    this.memory = new AddressSpace("memory", 2 ** 48, ram);
    this.io = new AddressSpace("I/O", 65536, ram);
    const block = ram.allocate("pc.ram", 65536);
    for (let i = 0; i < 256; i++) ram.bytes(block)[i] = i;
    this.memory.map(0, 65536, { kind: "ram", block, offset: 0 });
    this.io.mapIo(0x80, 1, { name: "post", read: () => 0x5a, write: (_o, _s, v) => void this.log.push(`out ${v}`) });
    this.driveList = config.drives.map((d) => parts.drive(d.id));
    for (const s of config.serials) {
      if (s.chardev === undefined) continue;
      const chardev = parts.chardev(s.chardev);
      // The guest answers in capitals.
      chardev.attach({
        canReceive: () => 16,
        receive: (data) => chardev.write(new TextEncoder().encode(new TextDecoder().decode(data).toUpperCase())),
      });
    }
  }

  start(): void {
    this.running = true;
    this.log.push("start");
  }
  async stop(): Promise<void> {
    if (this.running) this.log.push("stop");
    this.running = false;
  }
  reset(): void {
    this.log.push("reset");
  }
  powerdown(): void {
    this.log.push("powerdown");
  }
  wakeup(): void {
    this.log.push("wakeup");
  }
  nmi(): void {
    this.log.push("nmi");
  }
  sendKeys(names: readonly string[], holdMs: number): void {
    this.log.push(`keys ${names.join("+")} ${holdMs}`);
  }
  drives(): readonly Drive[] {
    return this.driveList;
  }
  devices() {
    return [];
  }
  async dispose(): Promise<void> {
    this.log.push("dispose");
  }
  cpus() {
    return [
      { index: 0, halted: false, pc: 0x7c00n },
      { index: 1, halted: true, pc: 0xffff_ffff_8000_0000n },
    ];
  }
  registers(cpu: number): string {
    return `RAX=000000000000000${cpu}\n`;
  }
  register(_cpu: number, name: string): bigint | undefined {
    return name === "rsp" ? 0x10n : undefined;
  }
  readVirtual(_cpu: number, address: bigint, out: Uint8Array): boolean {
    if (address >= 0x1000n) return false;
    return this.memory.readBytes(Number(address), out);
  }
  disassemble(_cpu: number, address: bigint, count: number) {
    return Array.from({ length: Math.min(count, 3) }, (_, i) => ({
      address: address + BigInt(i),
      bytes: Uint8Array.of(0x90),
      text: "nop",
    }));
  }
  report(topic: string): string {
    return `${topic} report`;
  }
  addressSpaces() {
    return [this.memory, this.io];
  }
  pciFunctions() {
    return [];
  }
  deviceTree(): BusNode {
    return {
      name: "main-system-bus",
      type: "System",
      devices: [{ type: "i440FX-pcihost", props: [["x-n", "1"]], buses: [{ name: "pci.0", type: "PCI", devices: [] }] }],
    };
  }
  display() {
    return { refresh: () => ({ width: 2, height: 1, pixels: Uint32Array.of(0xff0000, 0x00ff00) }), text: () => undefined };
  }
}

/** Files in memory, time that stands still. `notes` collects what would go to stderr. */
export function fakeHost(
  contents: { [path: string]: Uint8Array } = {},
): Host & { files: Host["files"]; contents: Map<string, Uint8Array>; notes: string[] } {
  const map = new Map(Object.entries(contents));
  const notes: string[] = [];
  return {
    contents: map,
    notes,
    arch: "x64",
    clock: { monotonicNs: () => 0, wallMs: () => 0 },
    scheduler: { soon: () => {}, after: () => () => {} },
    readBuiltIn: async (path) => map.get(`builtin:${path}`) ?? Promise.reject(new VmError("image/not-found", path)),
    randomBytes: () => {},
    note: (line) => void notes.push(line),
    localOffsetMinutes: () => 0,
    openChardev: async () => Promise.reject(new VmError("chardev/io", "no such thing here")),
    files: {
      async open(path, options): Promise<HostFile> {
        if (options.create) map.set(path, new Uint8Array(0));
        if (!map.has(path)) throw new VmError("block/not-found", "No such file or directory");
        return {
          path,
          readOnly: options.readOnly,
          get sizeBytes() {
            return map.get(path)!.length;
          },
          async read(offset, out) {
            const part = map.get(path)!.subarray(offset, offset + out.length);
            out.set(part);
            return part.length;
          },
          async write(offset, data) {
            const old = map.get(path)!;
            const next = new Uint8Array(Math.max(old.length, offset + data.length));
            next.set(old);
            next.set(data, offset);
            map.set(path, next);
          },
          async flush() {},
          async close() {},
        };
      },
    },
  };
}

/**
 * The pc machine's state for a stream. Order of restoring: time, memory map and devices, interrupt wires between them, then
 * the processors, which look at their interrupt controllers.
 */
import { VmError } from "../base/errors.js";
import type { DeviceState, StateValue } from "../hw/core/device.js";
import type { MemoryBlock, Snapshotable } from "../migration/index.js";
import type { X86CpuState } from "../target/x86/cpu-state.js";
import type { PcBoard } from "./pc.js";

/** A device's name in a stream: its type, with the user's id, its PCI place, or how many of its type come before it. */
function partNames(board: PcBoard): string[] {
  const seen = new Map<string, number>();
  return board.devices().map((d) => {
    const at = "devfn" in d ? `${d.type}@${(d as { devfn: number }).devfn}` : d.type;
    const base = d.id === undefined ? at : `${at}/${d.id}`;
    const n = seen.get(base) ?? 0;
    seen.set(base, n + 1);
    return n === 0 ? base : `${base}#${n}`;
  });
}

export class PcSnapshot implements Snapshotable {
  constructor(private readonly board: PcBoard) {}

  shape(): StateValue {
    const { config, files } = this.board;
    return {
      machine: "pc-i440fx-7.2",
      memoryBytes: config.memoryBytes,
      cpus: config.smp.cpus,
      cores: config.smp.cores,
      threads: config.smp.threads,
      cpu: { signature: files.model.signature, features: [...files.model.features].sort() },
      acpi: config.acpi,
      hpet: config.hpet,
      clock: config.icount ? `icount shift ${config.icount.shift}` : "host",
    };
  }

  memory(): readonly MemoryBlock[] {
    const { ram } = this.board;
    return ram.blocks.map((b) => ({ name: b.name, bytes: ram.bytes(b) }));
  }

  saveParts(): [string, StateValue][] {
    const { board } = this;
    const names = partNames(board);
    return [
      ["clock", { ns: board.clock.nowNs(), tscKhz: board.processors.tscKhz }],
      ["pci", board.pci.save()],
      ...board.devices().map((d, i): [string, StateValue] => [names[i]!, d.save()]),
      ["wires", board.saveWires()],
      ...Array.from({ length: board.config.smp.cpus }, (_, i): [string, StateValue] => [
        `cpu${i}`,
        board.processors.saveCpu(i) as unknown as StateValue,
      ]),
    ];
  }

  prepare(): void {
    this.board.reset();
  }

  restoreParts(parts: ReadonlyMap<string, StateValue>): void {
    const { board } = this;
    const part = (name: string): DeviceState => {
      const state = parts.get(name);
      if (typeof state !== "object" || state === null || Array.isArray(state) || state instanceof Uint8Array)
        throw new VmError("migration/bad-stream", `damaged state: ${name}`);
      return state;
    };
    const names = partNames(board);
    board.clock.set(part("clock").ns as number);
    board.processors.restoreTscKhz(part("clock").tscKhz as number);
    board.memory.batch(() =>
      board.io.batch(() => {
        board.pci.restore(part("pci"));
        for (const [i, d] of board.devices().entries())
          try {
            d.restore(part(names[i]!));
          } catch (cause) {
            throw new VmError("migration/bad-stream", `${names[i]} does not take its state: ${cause}`, { cause });
          }
      }),
    );
    board.restoreWires(part("wires"));
    for (let i = 0; i < board.config.smp.cpus; i++) board.processors.restoreCpu(i, part(`cpu${i}`) as unknown as X86CpuState);
  }
}

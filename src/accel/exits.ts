/** Why a vCPU came back from guest code: one closed union for every accelerator, matched exhaustively by the machine. */

export type VcpuExit =
  /** The time or the instructions it was given are used up, or somebody has asked for a break. */
  | { readonly kind: "budget" }
  | { readonly kind: "asked" }
  /** HLT; it waits for an interrupt. */
  | { readonly kind: "halted" }
  /** Port access: `count` items of `size` bytes at `data`; "in" is filled in before the vCPU runs again. */
  | {
      readonly kind: "io";
      readonly direction: "in" | "out";
      readonly port: number;
      readonly size: 1 | 2 | 4;
      readonly count: number;
      readonly data: DataView;
      readonly at: number;
    }
  /** Access to what is not memory: `size` bytes at `data`, low byte first. */
  | {
      readonly kind: "mmio";
      readonly write: boolean;
      readonly address: number;
      readonly size: number;
      readonly data: DataView;
      readonly at: number;
    }
  /** The guest can take an interrupt now, as was asked for. */
  | { readonly kind: "interrupt-window" }
  /** An MSR that the machine owns; `reply` gives the value (reads) or undefined for #GP. */
  | { readonly kind: "msr-read"; readonly index: number; readonly reply: (value: bigint | undefined) => void }
  | { readonly kind: "msr-write"; readonly index: number; readonly value: bigint; readonly reply: (accepted: boolean) => void }
  /** Triple fault. */
  | { readonly kind: "shutdown" }
  /** The accelerator cannot run the instruction at the program counter; the state is as before it. */
  | { readonly kind: "emulation-failure"; readonly bytes: Uint8Array }
  /** A level-triggered interrupt of an in-kernel APIC was acknowledged. */
  | { readonly kind: "eoi"; readonly vector: number }
  /** The accelerator failed: a bug, or a host that does not keep its word. */
  | { readonly kind: "failed"; readonly reason: string };

export type VcpuExitKind = VcpuExit["kind"];

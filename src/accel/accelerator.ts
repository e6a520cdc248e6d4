/**
 * What an accelerator is to a machine: it runs vCPUs of one architecture, whose state goes in and out in the words of that
 * architecture. The machine does not know which one it has.
 */
import type { VcpuExit } from "./exits.js";

export type AcceleratorName = "tcg" | "kvm";

/** How far a vCPU may run before it comes back with "budget". */
export interface RunLimit {
  /** Counted by TCG. */
  readonly insns: number;
  /** Kept by KVM, whose instructions are not counted. */
  readonly ns: number;
}

/** A virtual CPU. `State` is the target's, e.g. X86CpuState. */
export interface Vcpu<State> {
  readonly index: number;
  /** Runs guest code until something outside must happen. */
  run(limit: RunLimit): VcpuExit;
  /** Makes a run under way, or the next one, end soon; may be called from any place of the vCPU's own process. */
  kick(): void;
  getState(): State;
  setState(state: State): void;
}

/** An accelerator with its vCPUs. */
export interface Accelerator<State> {
  readonly name: AcceleratorName;
  readonly vcpus: readonly Vcpu<State>[];
  dispose(): void;
}

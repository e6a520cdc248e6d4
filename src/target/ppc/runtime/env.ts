/**
 * AssemblyScript. The vCPU whose turn it is, and what the runtime asks of the host. One wasm instance serves all vCPUs of
 * a thread: `setEnv` is called when they take turns.
 */
import { EXC_ERROR, EXC_VECTOR } from "../layout";

/** Base address of the current vCPU's state (layout.ts). */
export let env: usize = 0;

export function setEnv(base: usize): void {
  env = base;
}

/** Unwinds to the run loop, which delivers the exception in EXC_VECTOR / EXC_ERROR. Does not return. */
// @ts-ignore: decorator
@external("host", "unwind")
declare function hostUnwind(): void;
/** Guest-physical access to what is not plain RAM; address as two halves; size 1, 2, 4. */
// @ts-ignore: decorator
@external("host", "physRead")
export declare function physRead(low: u32, high: u32, size: u32): u32;
// @ts-ignore: decorator
@external("host", "physWrite")
export declare function physWrite(low: u32, high: u32, size: u32, value: u32): void;
/** A store hit a RAM page with translated code: drop the blocks that overlap host bytes [at, at + size). */
// @ts-ignore: decorator
@external("host", "codeWrite")
export declare function codeWrite(at: u32, size: u32): void;
/** The machine's time base, a whole double below 2^53. */
// @ts-ignore: decorator
@external("host", "timeBase")
export declare function hostTimeBase(): f64;
// @ts-ignore: decorator
@external("host", "hypercall")
export declare function hostHypercall(): void;
// @ts-ignore: decorator
@external("host", "decrementerSet")
export declare function hostDecrementerSet(deadline: f64): void;
/** 64 random bits as two u32 at env + SCRATCH. */
// @ts-ignore: decorator
@external("host", "random")
export declare function hostRandom(): void;
/** An interrupt was delivered (for -d int). */
// @ts-ignore: decorator
@external("host", "interrupt")
export declare function hostInterrupt(vector: u32, nip: f64): void;

/** Raises an exception. Does not return. */
export function raise(vector: i32, detail: u32): void {
  store<i32>(env + EXC_VECTOR, vector);
  store<u32>(env + EXC_ERROR, detail);
  hostUnwind();
  unreachable();
}

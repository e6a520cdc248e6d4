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
/** Port access. size 1, 2, 4. */
// @ts-ignore: decorator
@external("host", "ioRead")
export declare function ioRead(port: u32, size: u32): u32;
// @ts-ignore: decorator
@external("host", "ioWrite")
export declare function ioWrite(port: u32, size: u32, value: u32): void;
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
/** Time stamp counter before TSC_OFFSET, as a double below 2^53. */
// @ts-ignore: decorator
@external("host", "tsc")
export declare function hostTsc(): f64;
/** MSRs the machine owns (APIC base, x2APIC, TSC deadline): returns the value; sets EXC_VECTOR >= 0 on a refusal. */
// @ts-ignore: decorator
@external("host", "msrRead")
export declare function hostMsrRead(index: u32): f64;
/** @returns 1 when accepted, 0 for #GP */
// @ts-ignore: decorator
@external("host", "msrWrite")
export declare function hostMsrWrite(index: u32, low: u32, high: u32): u32;
/** CR8 (task priority >> 4). */
// @ts-ignore: decorator
@external("host", "tprRead")
export declare function tprRead(): u32;
// @ts-ignore: decorator
@external("host", "tprWrite")
export declare function tprWrite(value: u32): void;
/** Writes EAX, EBX, ECX, EDX of CPUID(leaf, subleaf) to env + SCRATCH as four u32. */
// @ts-ignore: decorator
@external("host", "cpuid")
export declare function hostCpuid(leaf: u32, subleaf: u32): void;
/** 64 random bits as two u32 at env + SCRATCH. */
// @ts-ignore: decorator
@external("host", "random")
export declare function hostRandom(): void;
/** Interrupt acknowledge: the vector, or -1. */
// @ts-ignore: decorator
@external("host", "acknowledge")
export declare function acknowledge(): i32;
/** The machine wants to know: 0 entered SMM, 1 left SMM, 2 triple fault, 3 A20 or other map change. */
// @ts-ignore: decorator
@external("host", "notify")
export declare function notify(what: u32, value: u32): void;

/** Raises an exception with an error code (ignored for vectors that have none). Does not return. */
export function raise(vector: i32, error: u32): void {
  store<i32>(env + EXC_VECTOR, vector);
  store<u32>(env + EXC_ERROR, error);
  hostUnwind();
  unreachable();
}

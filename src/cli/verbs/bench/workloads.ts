/**
 * What `tandem bench accel` runs: a few 64-bit instructions each, the same bytes under TCG, under KVM and, where the host lets an
 * ordinary process run them, natively. RCX counts down; at the end comes OUT to DONE_PORT (natively: RET). RBX is the data.
 */
import { BARE_CODE, BARE_DATA, BARE_MMIO, type BareMode } from "../../../accel/kvm/bare-guest.js";

export const DONE_PORT = 0x10;
const DONE = [0xe6, DONE_PORT];
/** dec rcx; jnz to the first of `bytes` before it. */
const again = (bytes: number) => [0x48, 0xff, 0xc9, 0x75, (-bytes - 5) & 255];
/** Where a handler lies. */
const HANDLER = BARE_CODE + 0x100;
const UD2_VECTOR = 6;
export const IRQ_VECTOR = 0x40;

export interface Workload {
  readonly name: string;
  /** What is counted. */
  readonly unit: string;
  readonly mode: BareMode;
  readonly code: readonly number[];
  /** Things counted in one round of RCX. */
  readonly perRound: number;
  readonly rbx?: number;
  readonly handler?: { readonly vector: number; readonly code: readonly number[] };
  /** The engine keeps an interrupt pending. */
  readonly interrupts?: boolean;
  /** Body for the host itself, when it can do the same or what stands for it there. */
  readonly native?: readonly number[];
}

const LOOP = again(0);
/** mov rdi, rbx; mov edx, 131072; 1: add [rdi], rax; add rdi, 8; dec edx; jnz 1b. */
const SWEEP = [0x48, 0x89, 0xdf, 0xba, 0, 0, 2, 0, 0x48, 0x01, 0x07, 0x48, 0x83, 0xc7, 0x08, 0xff, 0xca, 0x75, 0xf5];
const SWEEP_WORDS = 131072;

export const WORKLOADS: readonly Workload[] = [
  { name: "user code: counting loop", unit: "instructions", mode: "user", code: [...LOOP, ...DONE], perRound: 2, native: LOOP },
  {
    name: "user code: 1 MiB of memory",
    unit: "read-modify-writes",
    mode: "user",
    code: [...SWEEP, ...again(SWEEP.length), ...DONE],
    perRound: SWEEP_WORDS,
    rbx: BARE_DATA,
    native: [...SWEEP, ...again(SWEEP.length)],
  },
  { name: "kernel code: counting loop", unit: "instructions", mode: "kernel", code: [...LOOP, ...DONE], perRound: 2 },
  {
    // Natively a system call: getpid.
    name: "kernel entry and return",
    unit: "entries",
    mode: "user",
    code: [0x0f, 0x0b, ...again(2), ...DONE],
    perRound: 1,
    // add qword [rsp], 2; iretq.
    handler: { vector: UD2_VECTOR, code: [0x48, 0x83, 0x04, 0x24, 0x02, 0x48, 0xcf] },
    native: [0x51, 0xb8, 39, 0, 0, 0, 0x0f, 0x05, 0x59, ...again(9)],
  },
  { name: "port access", unit: "exits", mode: "kernel", code: [0xe6, 0x11, ...again(2), ...DONE], perRound: 1 },
  {
    name: "device memory access",
    unit: "exits",
    mode: "kernel",
    code: [0x89, 0x03, ...again(2), ...DONE],
    perRound: 1,
    rbx: BARE_MMIO,
  },
  {
    name: "interrupt",
    unit: "interrupts",
    mode: "kernel",
    // sti; jmp $.
    code: [0xfb, 0xeb, 0xfe],
    perRound: 1,
    // dec rcx; jz done; iretq; done: out.
    handler: { vector: IRQ_VECTOR, code: [0x48, 0xff, 0xc9, 0x74, 0x02, 0x48, 0xcf, ...DONE] },
    interrupts: true,
  },
];

/** Handlers as the guest's descriptor table wants them. */
export function handlersOf(w: Workload): ReadonlyMap<number, number> {
  return new Map(w.handler ? [[w.handler.vector, HANDLER]] : []);
}

/** The code with its handler in its place. */
export function imageOf(w: Workload): Uint8Array {
  const image = new Uint8Array(0x200);
  image.set(w.code);
  if (w.handler) image.set(w.handler.code, HANDLER - BARE_CODE);
  return image;
}

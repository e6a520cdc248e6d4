/**
 * RTAS: services of the platform that a guest calls with a block of big-endian words in its memory. The guest's RTAS entry
 * is a few instructions that pass the block to the hypervisor.
 * Source: LoPAR §7 (calling convention §7.2, services §7.3); KVMPPC_H_RTAS of QEMU's docs/specs/ppc-spapr-hcalls.
 */
import type { Trace } from "../../base/trace.js";
import type { AddressSpace } from "../../memory/address-space.js";
import { Hcall, type HcallFrame, HStatus } from "./hcall.js";

/** Status words, the first value a service gives back (§7.2.8). */
export const RtasStatus = {
  success: 0,
  noErrorsFound: 1,
  hardwareError: -1,
  busy: -2,
  parameterError: -3,
  notAuthorized: -9002,
  systemParameterError: -9999,
} as const;

/** Tokens count from here, in the order services are added. */
const FIRST_TOKEN = 0x2000;
const UNKNOWN_TOKEN = -1;
const MAX_ARGUMENTS = 16;

/** A call under way. Arguments are u32. */
export interface RtasCall {
  readonly cpu: number;
  readonly args: readonly number[];
  /** How many values the caller takes, the status among them. */
  readonly returns: number;
  /** Sets value `i`; 0 is the status. */
  set(i: number, value: number): void;
  readonly memory: AddressSpace;
}

/** One service. `args` and `returns` are the counts it must be called with. @returns the status */
export interface RtasService {
  readonly name: string;
  readonly args: number;
  readonly returns: number;
  /** Undefined: the call does not come back with a status of its own (stop-self, power-off). */
  readonly call: (call: RtasCall) => number | undefined;
}

/** The services of a machine, by token. */
export class Rtas {
  private readonly services: RtasService[] = [];

  constructor(
    private readonly memory: AddressSpace,
    private readonly trace: Trace,
  ) {}

  add(...services: readonly RtasService[]): void {
    this.services.push(...services);
  }

  /** Names and tokens, for the device tree. */
  tokens(): readonly { readonly name: string; readonly token: number }[] {
    return this.services.map((s, i) => ({ name: s.name, token: FIRST_TOKEN + i }));
  }

  token(name: string): number {
    const i = this.services.findIndex((s) => s.name === name);
    return i < 0 ? UNKNOWN_TOKEN : FIRST_TOKEN + i;
  }

  /** The hypercall behind the guest's RTAS entry: r4 is the address of the argument block. */
  hcall(frame: HcallFrame): number {
    const at = frame.arg(0);
    if (!(at < 2 ** 32)) return HStatus.H_PARAMETER;
    const block = new Uint8Array(4 * (3 + MAX_ARGUMENTS));
    if (!this.memory.readBytes(at, block.subarray(0, 12))) return HStatus.H_PARAMETER;
    const view = new DataView(block.buffer);
    const token = view.getUint32(0);
    const nargs = view.getUint32(4);
    const nret = view.getUint32(8);
    if (nargs > MAX_ARGUMENTS || nret > MAX_ARGUMENTS - nargs) return HStatus.H_PARAMETER;
    if (!this.memory.readBytes(at, block.subarray(0, 4 * (3 + nargs + nret)))) return HStatus.H_PARAMETER;
    const returns = 4 * (3 + nargs);
    const set = (i: number, value: number) => {
      if (i < nret) view.setUint32(returns + 4 * i, value >>> 0);
    };
    const service = this.services[token - FIRST_TOKEN];
    if (!service) this.trace.log("unimp", `RTAS token 0x${token.toString(16)} is not there`);
    let status: number | undefined = RtasStatus.parameterError;
    if (service && service.args <= nargs && service.returns <= nret) {
      const args = Array.from({ length: nargs }, (_, i) => view.getUint32(4 * (3 + i)));
      status = service.call({ cpu: frame.cpu, args, returns: nret, set, memory: this.memory });
      if (this.trace.on("int"))
        this.trace.log("int", `cpu ${frame.cpu}: RTAS ${service.name}(${args.map((a) => a.toString(16))}) = ${status}`);
    }
    if (status === undefined) return HStatus.H_SUCCESS;
    set(0, status);
    this.memory.writeBytes(at + returns, block.subarray(returns, returns + 4 * nret));
    return HStatus.H_SUCCESS;
  }
}

/** Bytes of `entryCode`. */
export const RTAS_ENTRY_BYTES = 20;

/** The guest's RTAS entry: `mr r4,r3; lis r3,0; ori r3,r3,KVMPPC_H_RTAS; sc 1; blr`, big-endian. */
export function rtasEntryCode(): Uint8Array {
  const words = [0x7c641b78, 0x3c600000, 0x60630000 | Hcall.KVMPPC_H_RTAS, 0x44000022, 0x4e800020];
  const bytes = new Uint8Array(RTAS_ENTRY_BYTES);
  const view = new DataView(bytes.buffer);
  for (const [i, w] of words.entries()) view.setUint32(4 * i, w);
  return bytes;
}

/**
 * AssemblyScript. Interrupts: SRR0, SRR1, MSR and the vector's place (Power ISA 3.0B III 6.4, 6.5), with the alternate
 * location and endianness that LPCR asks for.
 */
import {
  CTR, EXC_ERROR, EXC_VECTOR, FAULT_ADDR, FAULT_STATUS, HALTED, INT_DECREMENTER, INT_DOORBELL, INT_EXTERNAL, INT_RESET, LPCR, LPCR_AIL, LPCR_AIL_SHIFT,
  LPCR_ILE, LR, MSR_DR, MSR_EE, MSR_IR, MSR_LE, MSR_ME, MSR_RI, NIP, PC_EXACT, PENDING, SPR_DAR, SPR_DSISR, SPR_FSCR, SPR_SRR0,
  SPR_SRR1, V_ALIGNMENT, V_DATA_SEGMENT, V_DATA_STORAGE, V_DECREMENTER, V_DOORBELL, V_EXTERNAL, V_FACILITY_UNAVAILABLE,
  V_INSN_SEGMENT, V_INSN_STORAGE, V_MACHINE_CHECK, V_PROGRAM, V_RESET, V_SYSTEM_CALL,
} from "../layout";
import { env, hostInterrupt } from "./env";
import { msr, MSR_SF, r32, r64, setMsr, setSpr, spr, w32, w64 } from "./state";

/** SRR1 takes MSR but for bits 33-36 and 42-47, which say why (6.2.2). */
const SRR1_KEPT: u64 = ~(<u64>0x783f0000);

/** Goes to a vector. `cause`: SRR1 bits 33-36 and 42-47. */
export function enter(vector: u32, srr0: u64, cause: u64): void {
  const old = msr();
  hostInterrupt(vector, <f64>srr0);
  setSpr(SPR_SRR0, srr0);
  setSpr(SPR_SRR1, (old & SRR1_KEPT) | cause);
  let next: u64 = MSR_SF | (old & MSR_ME);
  if ((r64(LPCR) & LPCR_ILE) != 0) next |= MSR_LE;
  let at: u64 = vector;
  if (located(vector, old)) {
    next |= MSR_IR | MSR_DR;
    at += ail() == 2 ? 0x18000 : 0xc000000000004000;
  }
  setMsr(next);
  w64(NIP, at);
  w32(HALTED, 0);
  w32(PC_EXACT, 0);
}

// @ts-ignore: decorator
@inline
function ail(): u32 {
  return <u32>(r64(LPCR) & LPCR_AIL) >> LPCR_AIL_SHIFT;
}

/** Whether the alternate interrupt location applies: AIL 2 or 3, relocation on, and not machine check or reset. */
function located(vector: u32, old: u64): bool {
  if (ail() < 2) return false;
  if (vector == V_MACHINE_CHECK || vector == V_RESET) return false;
  return (old & (MSR_IR | MSR_DR)) == (MSR_IR | MSR_DR);
}

/** Delivers EXC_VECTOR / EXC_ERROR at NIP. */
export function deliverException(): void {
  const vector = r32(EXC_VECTOR);
  const detail = r32(EXC_ERROR);
  let nip = r64(NIP);
  let cause: u64 = 0;
  switch (vector) {
    case V_DATA_STORAGE:
      setSpr(SPR_DAR, r64(FAULT_ADDR));
      setSpr(SPR_DSISR, r64(FAULT_STATUS));
      break;
    case V_DATA_SEGMENT:
    case V_ALIGNMENT:
      setSpr(SPR_DAR, r64(FAULT_ADDR));
      break;
    case V_INSN_STORAGE:
      cause = r64(FAULT_STATUS) & 0x78000000;
      break;
    case V_INSN_SEGMENT:
      break;
    case V_PROGRAM:
      cause = <u64>detail << 16;
      break;
    case V_FACILITY_UNAVAILABLE:
      setSpr(SPR_FSCR, (spr(SPR_FSCR) & 0x00ffffffffffffff) | (<u64>detail << 56));
      break;
    case V_SYSTEM_CALL:
      nip += 4;
      break;
  }
  enter(vector, nip, cause);
}

/** The interrupt of highest priority that MSR lets through (6.9). @returns whether one was delivered */
export function deliverPending(): bool {
  const pending = r32(PENDING);
  if (pending == 0) return false;
  if ((pending & INT_RESET) != 0) {
    atomic.and<u32>(env + PENDING, ~INT_RESET);
    enter(V_RESET, r64(NIP), 0);
    return true;
  }
  if ((msr() & MSR_EE) == 0) return false;
  if ((pending & INT_EXTERNAL) != 0) {
    enter(V_EXTERNAL, r64(NIP), 0);
    return true;
  }
  if ((pending & INT_DECREMENTER) != 0) {
    enter(V_DECREMENTER, r64(NIP), 0);
    return true;
  }
  if ((pending & INT_DOORBELL) != 0) {
    atomic.and<u32>(env + PENDING, ~INT_DOORBELL);
    enter(V_DOORBELL, r64(NIP), 0);
    return true;
  }
  return false;
}

/** rfid: MSR from SRR1, NIP from SRR0. */
export function h_rfid(a: u64, b: u64, imm: u32): u64 {
  returnTo(spr(SPR_SRR1), spr(SPR_SRR0));
  return 0;
}

function returnTo(next: u64, nip: u64): void {
  // ME is the hypervisor's.
  setMsr((next & ~(<u64>MSR_ME)) | (msr() & MSR_ME));
  w64(NIP, (next & MSR_SF) != 0 ? nip & ~3 : nip & 0xfffffffc);
}

/** sc: a = next address. */
export function h_sc(a: u64, b: u64, imm: u32): u64 {
  enter(V_SYSTEM_CALL, a, 0);
  return 0;
}

// scv (III 6.5.28): LR and CTR take NIP and MSR; interrupts stay enabled.
export function h_scv(a: u64, b: u64, imm: u32): u64 {
  const old = msr();
  store<u64>(env + LR, a);
  store<u64>(env + CTR, old & SRR1_KEPT);
  let next = (old & (MSR_EE | MSR_RI | MSR_ME)) | MSR_SF;
  if ((r64(LPCR) & LPCR_ILE) != 0) next |= MSR_LE;
  let at: u64 = 0x17000 + imm * 0x20;
  if (located(V_SYSTEM_CALL, old)) {
    next |= MSR_IR | MSR_DR;
    at = ail() == 2 ? 0x17000 + imm * 0x20 : 0xc000000000003000 + imm * 0x20;
  }
  setMsr(next);
  w64(NIP, at);
  return 0;
}

export function h_rfscv(a: u64, b: u64, imm: u32): u64 {
  returnTo(load<u64>(env + CTR), load<u64>(env + LR));
  return 0;
}

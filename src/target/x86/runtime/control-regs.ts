/**
 * AssemblyScript. Writes to CR0, CR3, CR4, EFER with their checks and consequences. Source: Intel SDM vol 3 2.5, 4.1, 9.8.5.
 */
import { CR0, CR3, CR4, CR4_VALID, EFER, EFER_VALID, PHYS_MASK } from "../layout";
import { raise } from "./env";
import { updateHflags } from "./hflags";
import { flushTlb } from "./mmu";
import { loadPdptes, usesPdptes } from "./page-walk";
import {
  cr0,
  CR0_CD,
  CR0_ET,
  CR0_NW,
  CR0_PE,
  CR0_PG,
  CR0_WP,
  cr4,
  CR4_PAE,
  CR4_PCIDE,
  CR4_PGE,
  CR4_PSE,
  CR4_SMAP,
  CR4_SMEP,
  CS,
  D_L,
  efer,
  EFER_LMA,
  EFER_LME,
  EFER_NXE,
  isCode64,
  isLma,
  r64,
  segFlags,
  w64,
  X_GP,
} from "./state";

const CR0_VALID: u64 = 0xe005003f;

/** @returns false when the value is refused (#GP), nothing changed */
export function writeCr0(v: u64): bool {
  const old = cr0();
  if (v >> 32 != 0) return false;
  v = (v & CR0_VALID) | CR0_ET;
  if ((v & CR0_PG) != 0 && (v & CR0_PE) == 0) return false;
  if ((v & CR0_NW) != 0 && (v & CR0_CD) == 0) return false;
  let e = efer();
  if ((v & CR0_PG) != 0 && (old & CR0_PG) == 0) {
    if ((e & EFER_LME) != 0) {
      if ((cr4() & CR4_PAE) == 0 || (segFlags(CS) & D_L) != 0) return false;
      e |= EFER_LMA;
    }
  } else if ((v & CR0_PG) == 0 && (old & CR0_PG) != 0) {
    if (isCode64() || (cr4() & CR4_PCIDE) != 0) return false;
    e &= ~EFER_LMA;
  }
  const before = efer();
  w64(CR0, v);
  w64(EFER, e);
  if (usesPdptes() && ((v ^ old) & (CR0_PG | CR0_CD | CR0_NW)) != 0 && !loadPdptes(r64(CR3))) {
    w64(CR0, old);
    w64(EFER, before);
    return false;
  }
  if (((v ^ old) & (CR0_PG | CR0_WP | CR0_PE)) != 0) flushTlb(0);
  updateHflags();
  return true;
}

/** @returns false when the value is refused */
export function writeCr3(v: u64): bool {
  if (isLma()) {
    // Translations are not tagged with PCIDs: bit 63 is a permission to keep them that is not used.
    if ((cr4() & CR4_PCIDE) != 0) v &= 0x7fffffffffffffff;
    if ((v & ~r64(PHYS_MASK) & ~0xfff) != 0) return false;
  } else {
    v &= 0xffffffff;
    if (usesPdptes() && !loadPdptes(v)) return false;
  }
  w64(CR3, v);
  flushTlb(1);
  return true;
}

/** @returns false when the value is refused */
export function writeCr4(v: u64): bool {
  const old = cr4();
  if ((v & ~r64(CR4_VALID)) != 0) return false;
  if (isLma() && (v & CR4_PAE) == 0) return false;
  if ((v & ~old & CR4_PCIDE) != 0 && (!isLma() || (r64(CR3) & 0xfff) != 0)) return false;
  w64(CR4, v);
  if (usesPdptes() && ((v ^ old) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP)) != 0 && !loadPdptes(r64(CR3))) {
    w64(CR4, old);
    return false;
  }
  if (((v ^ old) & (CR4_PAE | CR4_PGE | CR4_PSE | CR4_SMEP | CR4_SMAP | CR4_PCIDE)) != 0) flushTlb(0);
  updateHflags();
  return true;
}

/** @returns false when the value is refused */
export function writeEfer(v: u64): bool {
  const old = efer();
  if ((v & ~(r64(EFER_VALID) | EFER_LMA)) != 0) return false;
  if (((v ^ old) & EFER_LME) != 0 && (cr0() & CR0_PG) != 0) return false;
  v = (v & ~EFER_LMA) | (old & EFER_LMA);
  w64(EFER, v);
  if (((v ^ old) & EFER_NXE) != 0) flushTlb(0);
  updateHflags();
  return true;
}

export function requireTrue(ok: bool): void {
  if (!ok) raise(X_GP, 0);
}

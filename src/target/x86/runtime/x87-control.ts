/**
 * AssemblyScript. x87 control: control, status and tag words, environment and state images, MMX marks.
 * Source: Intel SDM vol 1, 8.1; vol 2 (FLDCW, FNINIT, FNSTENV, FNSAVE, FRSTOR, EMMS).
 *
 * Images: 14 or 28 bytes of environment, then for FNSAVE/FRSTOR eight 10-byte registers from ST(0) on.
 */
import {
  FCS,
  FCW,
  FDP,
  FDS,
  FIP,
  FOP,
  FPR,
  FSW,
  FTAGS,
  FTOP,
  HF_CS64,
  HF_MMU_SHIFT,
  HFLAGS,
  XMM,
} from "../layout";
import { env } from "./env";
import { ld8, ld16, ld32, ld64, st8, st16, st32, st64 } from "./mmu";
import { FSW_C1, put, refreshSummary, seOf, sigOf, st } from "./x87-state";

/** Bits of FCW that exist; bit 6 reads as one. */
const FCW_BITS: u32 = 0x1f3f;

function initialise(): void {
  store<u32>(env + FCW, 0x37f);
  store<u32>(env + FSW, 0);
  store<u32>(env + FTOP, 0);
  store<u32>(env + FTAGS, 0xff);
  store<u32>(env + FOP, 0);
  store<u64>(env + FIP, 0);
  store<u64>(env + FDP, 0);
  store<u32>(env + FCS, 0);
  store<u32>(env + FDS, 0);
}

export function h_fninit(a: u64, b: u64, imm: u32): u64 {
  initialise();
  return 0;
}

/** Clears the exception flags, SF, ES and B. */
export function h_fnclex(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + FSW, load<u32>(env + FSW) & 0x7f00);
  return 0;
}

/** FLDCW: a = the new control word. May leave an exception pending. */
export function h_fldcw(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + FCW, (u32(a) & FCW_BITS) | 0x40);
  refreshSummary();
  return 0;
}

export function h_fnstcw(a: u64, b: u64, imm: u32): u64 {
  return load<u32>(env + FCW);
}

/** The status word with TOP in place. */
export function fullFsw(): u32 {
  return (load<u32>(env + FSW) & ~0x3800) | (load<u32>(env + FTOP) << 11);
}

/** Sets status word and TOP from an image; ES and B follow from flags and masks (FCW must be set before). */
export function setFullFsw(value: u32): void {
  store<u32>(env + FTOP, (value >> 11) & 7);
  store<u32>(env + FSW, value & 0x477f);
  refreshSummary();
}

export function h_fnstsw(a: u64, b: u64, imm: u32): u64 {
  return fullFsw();
}

/** The 16-bit tag word: 0 valid, 1 zero, 2 special, 3 empty, for physical register 7 down to 0. */
export function fullTags(): u32 {
  const empty = load<u32>(env + FTAGS);
  let word: u32 = 0;
  for (let i: i32 = 7; i >= 0; i--) {
    const reg = env + FPR + (i << 4);
    const sig = sigOf(reg);
    const e = seOf(reg) & 0x7fff;
    let tag: u32;
    if (((empty >> i) & 1) != 0) tag = 3;
    else if (e == 0 && sig == 0) tag = 1;
    else if (e == 0 || e == 0x7fff || sig >> 63 == 0) tag = 2;
    else tag = 0;
    word = (word << 2) | tag;
  }
  return word;
}

/** FTAGS from a 16-bit tag word. */
export function emptyFromTags(word: u32): u32 {
  let empty: u32 = 0;
  for (let i: u32 = 0; i < 8; i++) if (((word >> (i * 2)) & 3) == 3) empty |= 1 << i;
  return empty;
}

// @ts-ignore: decorator
@inline
function mmuIndex(): u32 {
  return (load<u32>(env + HFLAGS) >> HF_MMU_SHIFT) & 3;
}

/** Linear addresses wrap at 4 GiB outside 64-bit code. */
// @ts-ignore: decorator
@inline
function wrap(address: u64): u64 {
  return (load<u32>(env + HFLAGS) & HF_CS64) != 0 ? address : address & 0xffffffff;
}

function put16(address: u64, value: u32): void {
  st16(wrap(address), value, mmuIndex());
}
function put32(address: u64, value: u32): void {
  st32(wrap(address), value, mmuIndex());
}
function get16(address: u64): u32 {
  return u32(ld16(wrap(address), mmuIndex()));
}
function get32(address: u64): u32 {
  return u32(ld32(wrap(address), mmuIndex()));
}

/** imm bit 0: 28-byte format; bit 1: real-address or virtual-8086 mode. */
const FORMAT32: u32 = 1;
const FORMAT_REAL: u32 = 2;

function storeEnvironment(at: u64, imm: u32): void {
  const fip = u32(load<u64>(env + FIP));
  const fdp = u32(load<u64>(env + FDP));
  const fop = load<u32>(env + FOP) & 0x7ff;
  const fcs = load<u32>(env + FCS) & 0xffff;
  const fds = load<u32>(env + FDS) & 0xffff;
  const linearIp = (fcs << 4) + fip;
  const linearDp = (fds << 4) + fdp;
  if ((imm & FORMAT32) != 0) {
    put32(at, load<u32>(env + FCW) | 0xffff0000);
    put32(at + 4, fullFsw() | 0xffff0000);
    put32(at + 8, fullTags() | 0xffff0000);
    if ((imm & FORMAT_REAL) != 0) {
      put32(at + 12, (linearIp & 0xffff) | 0xffff0000);
      put32(at + 16, (((linearIp >> 16) & 0xffff) << 12) | fop);
      put32(at + 20, (linearDp & 0xffff) | 0xffff0000);
      put32(at + 24, ((linearDp >> 16) & 0xffff) << 12);
    } else {
      put32(at + 12, fip);
      put32(at + 16, fcs | (fop << 16));
      put32(at + 20, fdp);
      put32(at + 24, fds | 0xffff0000);
    }
    return;
  }
  put16(at, load<u32>(env + FCW));
  put16(at + 2, fullFsw());
  put16(at + 4, fullTags());
  if ((imm & FORMAT_REAL) != 0) {
    put16(at + 6, linearIp);
    put16(at + 8, (((linearIp >> 16) & 15) << 12) | fop);
    put16(at + 10, linearDp);
    put16(at + 12, ((linearDp >> 16) & 15) << 12);
  } else {
    put16(at + 6, fip);
    put16(at + 8, fcs);
    put16(at + 10, fdp);
    put16(at + 12, fds);
  }
}

function loadEnvironment(at: u64, imm: u32): void {
  let fcw: u32;
  let fsw: u32;
  let tags: u32;
  let fip: u32;
  let fcs: u32;
  let fdp: u32;
  let fds: u32;
  let fop: u32;
  if ((imm & FORMAT32) != 0) {
    fcw = get32(at);
    fsw = get32(at + 4);
    tags = get32(at + 8);
    fip = get32(at + 12);
    fcs = get32(at + 16);
    fdp = get32(at + 20);
    fds = get32(at + 24);
    if ((imm & FORMAT_REAL) != 0) {
      fop = fcs & 0x7ff;
      fip = (fip & 0xffff) | ((fcs >> 12) << 16);
      fdp = (fdp & 0xffff) | ((fds >> 12) << 16);
      fcs = 0;
      fds = 0;
    } else fop = (fcs >> 16) & 0x7ff;
  } else {
    fcw = get16(at);
    fsw = get16(at + 2);
    tags = get16(at + 4);
    fip = get16(at + 6);
    fcs = get16(at + 8);
    fdp = get16(at + 10);
    fds = get16(at + 12);
    if ((imm & FORMAT_REAL) != 0) {
      fop = fcs & 0x7ff;
      fip |= (fcs >> 12) << 16;
      fdp |= (fds >> 12) << 16;
      fcs = 0;
      fds = 0;
    } else fop = 0;
  }
  store<u32>(env + FCW, (fcw & FCW_BITS) | 0x40);
  setFullFsw(fsw);
  store<u32>(env + FTAGS, emptyFromTags(tags));
  store<u64>(env + FIP, fip);
  store<u64>(env + FDP, fdp);
  store<u32>(env + FCS, fcs & 0xffff);
  store<u32>(env + FDS, fds & 0xffff);
  store<u32>(env + FOP, fop);
}

/** FNSTENV: a = linear address. All exceptions are masked afterwards. */
export function h_fnstenv(a: u64, b: u64, imm: u32): u64 {
  storeEnvironment(a, imm);
  store<u32>(env + FCW, load<u32>(env + FCW) | 0x3f);
  refreshSummary();
  return 0;
}

/** FLDENV: a = linear address. */
export function h_fldenv(a: u64, b: u64, imm: u32): u64 {
  loadEnvironment(a, imm);
  return 0;
}

/** FNSAVE: a = linear address; FNINIT afterwards. */
export function h_fsave(a: u64, b: u64, imm: u32): u64 {
  const registers = a + ((imm & FORMAT32) != 0 ? 28 : 14);
  storeEnvironment(a, imm);
  for (let i: u32 = 0; i < 8; i++) {
    const reg = st(i);
    const at = registers + u64(i) * 10;
    st64(wrap(at), sigOf(reg), mmuIndex());
    put16(at + 8, seOf(reg));
  }
  initialise();
  return 0;
}

/** FRSTOR: a = linear address. */
export function h_frstor(a: u64, b: u64, imm: u32): u64 {
  const registers = a + ((imm & FORMAT32) != 0 ? 28 : 14);
  // The image spans two pages at most: a fault shows before any state changes.
  ld8(wrap(a), mmuIndex());
  ld8(wrap(registers + 79), mmuIndex());
  loadEnvironment(a, imm);
  for (let i: u32 = 0; i < 8; i++) {
    const at = registers + u64(i) * 10;
    put(st(i), ld64(wrap(at), mmuIndex()), get16(at + 8));
  }
  return 0;
}

/** Any MMX instruction but EMMS: TOP = 0, all tags valid. */
export function h_mmx_enter(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + FTOP, 0);
  store<u32>(env + FTAGS, 0);
  return 0;
}

/** An MMX instruction that writes MM imm: as h_mmx_enter, and the register's exponent becomes all ones. */
export function h_mmx_write(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + FTOP, 0);
  store<u32>(env + FTAGS, 0);
  store<u16>(env + FPR + ((imm & 7) << 4), 0xffff, 8);
  return 0;
}

export function h_emms(a: u64, b: u64, imm: u32): u64 {
  store<u32>(env + FTOP, 0);
  store<u32>(env + FTAGS, 0xff);
  return 0;
}

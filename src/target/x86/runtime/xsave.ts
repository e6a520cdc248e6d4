/**
 * AssemblyScript. FXSAVE, FXRSTOR, XSAVE, XSAVEOPT, XRSTOR: x87, SSE and AVX state in the standard format.
 * Source: Intel SDM vol 1 10.5 and 13. Not emulated: the compacted format, supervisor components, AMD's fast FXSAVE.
 */
import { CR0, FCS, FCW, FDP, FDS, FIP, FOP, FPR, FSW, FTAGS, FTOP, MXCSR, XCR0, XMM, YMMH } from "../layout";
import { env, raise } from "./env";
import { checkAccess, ld16, ld32, ld64, ld8, st16, st32, st64, st8 } from "./mmu";
import { ACC_READ, ACC_WRITE } from "./page-walk";
import { refreshSummary } from "./x87-state";
import { updateFpFast } from "./sse-fp";
import {
  CR0_EM,
  CR0_TS,
  cr4,
  CR4_OSXSAVE,
  dataMmu,
  gpr,
  isCode64,
  r32,
  r64,
  RAX,
  RDX,
  w32,
  w64,
  X_GP,
  X_NM,
  X_UD,
} from "./state";

/** MXCSR bits that exist. */
const MXCSR_VALID: u32 = 0xffff;
const X87: u64 = 1;
const SSE: u64 = 2;
const AVX: u64 = 4;
/** Offsets in the area. */
const AT_MXCSR: u64 = 24;
const AT_XMM: u64 = 160;
const AT_BV: u64 = 512;
const AT_YMMH: u64 = 576;

function wrap(at: u64): u64 {
  return isCode64() ? at : at & 0xffffffff;
}

/** All pages of an area at most 832 bytes long. */
function check(at: u64, bytes: u32, access: u32): void {
  checkAccess(at, bytes, dataMmu(), access);
}

function saveX87(at: u64, wide: bool): void {
  const m = dataMmu();
  const top = r32(FTOP) & 7;
  st16(at, <u64>r32(FCW), m);
  st16(wrap(at + 2), <u64>((r32(FSW) & ~0x3800) | (top << 11)), m);
  st16(wrap(at + 4), <u64>(~r32(FTAGS) & 0xff), m);
  st16(wrap(at + 6), <u64>(r32(FOP) & 0x7ff), m);
  if (wide) {
    st64(wrap(at + 8), r64(FIP), m);
    st64(wrap(at + 16), r64(FDP), m);
  } else {
    st64(wrap(at + 8), (r64(FIP) & 0xffffffff) | ((<u64>r32(FCS) & 0xffff) << 32), m);
    st64(wrap(at + 16), (r64(FDP) & 0xffffffff) | ((<u64>r32(FDS) & 0xffff) << 32), m);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const reg = env + FPR + (((top + i) & 7) << 4);
    st64(wrap(at + 32 + i * 16), load<u64>(reg), m);
    st64(wrap(at + 40 + i * 16), <u64>load<u16>(reg + 8), m);
  }
}

function loadX87(at: u64, wide: bool): void {
  const m = dataMmu();
  const fsw = <u32>ld16(wrap(at + 2), m);
  const top = (fsw >> 11) & 7;
  w32(FCW, (<u32>ld16(at, m) & 0x1f7f) | 0x40);
  w32(FSW, fsw & ~0x3800);
  w32(FTOP, top);
  w32(FTAGS, ~(<u32>ld8(wrap(at + 4), m)) & 0xff);
  refreshSummary();
  w32(FOP, <u32>ld16(wrap(at + 6), m) & 0x7ff);
  const ip = ld64(wrap(at + 8), m);
  const dp = ld64(wrap(at + 16), m);
  if (wide) {
    w64(FIP, ip);
    w64(FDP, dp);
    w32(FCS, 0);
    w32(FDS, 0);
  } else {
    w64(FIP, ip & 0xffffffff);
    w64(FDP, dp & 0xffffffff);
    w32(FCS, <u32>(ip >> 32) & 0xffff);
    w32(FDS, <u32>(dp >> 32) & 0xffff);
  }
  for (let i: u32 = 0; i < 8; i++) {
    const reg = env + FPR + (((top + i) & 7) << 4);
    store<u64>(reg, ld64(wrap(at + 32 + i * 16), m));
    store<u64>(reg + 8, ld16(wrap(at + 40 + i * 16), m));
  }
}

/** Vector registers the mode can name. */
function xmmCount(): u32 {
  return isCode64() ? 16 : 8;
}

function saveVectors(at: u64, from: usize): void {
  const m = dataMmu();
  for (let i: u32 = 0; i < xmmCount(); i++) {
    st64(wrap(at + i * 16), load<u64>(from + (i << 4)), m);
    st64(wrap(at + 8 + i * 16), load<u64>(from + (i << 4) + 8), m);
  }
}

function loadVectors(at: u64, to: usize): void {
  const m = dataMmu();
  for (let i: u32 = 0; i < xmmCount(); i++) {
    store<u64>(to + (i << 4), ld64(wrap(at + i * 16), m));
    store<u64>(to + (i << 4) + 8, ld64(wrap(at + 8 + i * 16), m));
  }
}

function requireFx(at: u64): void {
  if ((r64(CR0) & (CR0_EM | CR0_TS)) != 0) raise(X_NM, 0);
  if ((at & 15) != 0) raise(X_GP, 0);
}

export function h_fxsave(a: u64, b: u64, imm: u32): u64 {
  requireFx(a);
  check(a, 512, ACC_WRITE);
  saveX87(a, (imm & 1) != 0);
  st32(wrap(a + AT_MXCSR), <u64>r32(MXCSR), dataMmu());
  st32(wrap(a + 28), <u64>MXCSR_VALID, dataMmu());
  saveVectors(a + AT_XMM, env + XMM);
  return 0;
}

function readMxcsr(a: u64): u32 {
  const v = <u32>ld32(wrap(a + AT_MXCSR), dataMmu());
  if ((v & ~MXCSR_VALID) != 0) raise(X_GP, 0);
  return v;
}

function setMxcsr(v: u32): void {
  w32(MXCSR, v);
  updateFpFast();
}

export function h_fxrstor(a: u64, b: u64, imm: u32): u64 {
  requireFx(a);
  check(a, 512, ACC_READ);
  const mx = readMxcsr(a);
  loadX87(a, (imm & 1) != 0);
  setMxcsr(mx);
  loadVectors(a + AT_XMM, env + XMM);
  return 0;
}

/** Checks of all XSAVE instructions. @returns the components asked for */
function requireX(at: u64): u64 {
  if ((cr4() & CR4_OSXSAVE) == 0) raise(X_UD, 0);
  if ((r64(CR0) & CR0_TS) != 0) raise(X_NM, 0);
  if ((at & 63) != 0) raise(X_GP, 0);
  return ((gpr(RAX) & 0xffffffff) | (gpr(RDX) << 32)) & r64(XCR0);
}

export function h_xsave(a: u64, b: u64, imm: u32): u64 {
  const ask = requireX(a);
  check(a, (ask & AVX) != 0 ? 832 : 576, ACC_WRITE);
  const bv = ld64(wrap(a + AT_BV), dataMmu());
  if ((ask & X87) != 0) saveX87(a, (imm & 1) != 0);
  if ((ask & (SSE | AVX)) != 0) {
    st32(wrap(a + AT_MXCSR), <u64>r32(MXCSR), dataMmu());
    st32(wrap(a + 28), <u64>MXCSR_VALID, dataMmu());
  }
  if ((ask & SSE) != 0) saveVectors(a + AT_XMM, env + XMM);
  if ((ask & AVX) != 0) saveVectors(a + AT_YMMH, env + YMMH);
  // Every component counts as in use.
  st64(wrap(a + AT_BV), (bv & ~ask) | ask, dataMmu());
  return 0;
}

export function h_xsaveopt(a: u64, b: u64, imm: u32): u64 {
  return h_xsave(a, b, imm);
}

export function h_xrstor(a: u64, b: u64, imm: u32): u64 {
  const ask = requireX(a);
  check(a, (ask & AVX) != 0 ? 832 : 576, ACC_READ);
  const m = dataMmu();
  const bv = ld64(wrap(a + AT_BV), m);
  if ((bv & ~r64(XCR0)) != 0) raise(X_GP, 0);
  if (ld64(wrap(a + AT_BV + 8), m) != 0 || ld64(wrap(a + AT_BV + 16), m) != 0) raise(X_GP, 0);
  const mx = (ask & (SSE | AVX)) != 0 ? readMxcsr(a) : 0;
  if ((ask & X87) != 0) {
    if ((bv & X87) != 0) loadX87(a, (imm & 1) != 0);
    else initX87();
  }
  if ((ask & (SSE | AVX)) != 0) setMxcsr(mx);
  if ((ask & SSE) != 0) {
    if ((bv & SSE) != 0) loadVectors(a + AT_XMM, env + XMM);
    else memory.fill(env + XMM, 0, xmmCount() << 4);
  }
  if ((ask & AVX) != 0) {
    if ((bv & AVX) != 0) loadVectors(a + AT_YMMH, env + YMMH);
    else memory.fill(env + YMMH, 0, xmmCount() << 4);
  }
  return 0;
}

function initX87(): void {
  w32(FCW, 0x37f);
  w32(FSW, 0);
  w32(FTOP, 0);
  w32(FTAGS, 0xff);
  w32(FOP, 0);
  w64(FIP, 0);
  w64(FDP, 0);
  w32(FCS, 0);
  w32(FDS, 0);
  memory.fill(env + FPR, 0, 128);
}

/**
 * AssemblyScript. MOVS, STOS, LODS, CMPS, SCAS, INS, OUTS with and without REP, and IN/OUT with the permission bitmap. Plain RAM is
 * worked on page by page; everything else element by element. Registers are exact at every fault, because they move with
 * each element or chunk. Source: Intel SDM vol 2 and vol 1 19.5.2 (I/O permission bitmap).
 */
import {
  CC_DST, CC_OP, CC_SRC, CC_SUB, DF, HF_DR7, HF_TF, MMU_KERNEL, SEG_RLIM, SEG_WLIM, TR_BASE, TR_FLAGS,
  TR_LIMIT,
} from "../layout";
import { env, ioRead, ioWrite, raise } from "./env";
import { h_dr_check, ioBreakpoint } from "./debug";
import { direct, ld16, MMU_STACK, prepareStore, slowLoad, slowStore } from "./mmu";
import { ACC_READ, ACC_WRITE } from "./page-walk";
import { linearOf } from "./segments";
import {
  cpl, dataMmu, ES, FS, gpr, hflags, iopl, isCode64, isLma, isPe, isVm, r32, r64, RAX, RCX, RDI, RDX, RSI, segBase, setGpr, setGprSized, SS, trunc, w64,
  X_GP,
} from "./state";

/** Most elements one call does, so that events are seen in time. */
const MAX_BYTES: u64 = 0x10000;
const MAX_IO: u64 = 0x400;

// The instruction at work.
let size: u32 = 0;
let bytes: u64 = 1;
let addressMask: u64 = 0;
let segment: u32 = 0;
let rep: u32 = 0;
let down: bool = false;
let mmu: u32 = 0;
let bulk: bool = false;
/** Elements this call may still do. */
let budget: u64 = 0;

function begin(imm: u32, most: u64): void {
  size = imm & 3;
  bytes = 1 << size;
  const a = (imm >> 2) & 3;
  addressMask = a == 1 ? 0xffff : a == 2 ? 0xffffffff : <u64>-1;
  segment = (imm >> 4) & 7;
  rep = (imm >> 8) & 3;
  down = <i64>r64(DF) < 0;
  mmu = dataMmu();
  const hf = hflags();
  bulk = (hf & HF_DR7) == 0;
  const n: u64 = rep == 0 ? 1 : gpr(RCX) & addressMask;
  budget = rep == 0 || (n != 0 && (hf & HF_TF) != 0) ? 1 : n < most ? n : most;
  if (n == 0) budget = 0;
}

/** Moves an address register by n elements. */
function advance(reg: u32, n: u64): void {
  const step = n << size;
  const v = down ? gpr(reg) - step : gpr(reg) + step;
  if (addressMask == 0xffff) setGpr(reg, (gpr(reg) & ~0xffff) | (v & 0xffff));
  else setGpr(reg, v & addressMask);
}

/** Counts n elements done. @returns true when the whole instruction is finished */
function done(n: u64): bool {
  budget -= n;
  if (rep == 0) return true;
  const left = ((gpr(RCX) & addressMask) - n) & addressMask;
  if (addressMask == 0xffff) setGpr(RCX, (gpr(RCX) & ~0xffff) | left);
  else setGpr(RCX, left);
  return left == 0;
}

/** Elements from an offset that stay in one page and in the segment without a closer look; 0 = one by one. */
function run(seg: u32, offset: u64, limitAt: u32): u64 {
  if (!bulk || budget < 2) return 0;
  let linear: u64;
  if (isCode64()) linear = seg < FS ? offset : segBase(seg) + offset;
  else linear = (segBase(seg) + offset) & 0xffffffff;
  const inPage = linear & 0xfff;
  if (inPage + bytes > 0x1000) return 0;
  let n: u64;
  if (down) {
    n = (inPage >> size) + 1;
    const o = (offset >> size) + 1;
    if (o < n) n = o;
  } else {
    n = (0x1000 - inPage) >> size;
    if (addressMask != <u64>-1) {
      const o = (addressMask + 1 - offset) >> size;
      if (o < n) n = o;
    }
  }
  if (!isCode64()) {
    const limit = load<u64>(env + limitAt + (seg << 3));
    if (down) {
      if (offset + bytes > limit) return 0;
    } else {
      const o = limit <= offset ? 0 : (limit - offset) >> size;
      if (o < n) n = o;
    }
  }
  return n < budget ? n : budget;
}

// @ts-ignore: decorator
@inline
function mmuFor(seg: u32): u32 {
  return seg == SS ? mmu | MMU_STACK : mmu;
}

function readAt(seg: u32, offset: u64): u64 {
  const at = linearOf(seg, offset, <u32>bytes, false);
  if (!bulk) h_dr_check(at, 0, <u32>bytes);
  return slowLoad(at, size, mmuFor(seg));
}

function writeAt(offset: u64, v: u64): void {
  const at = linearOf(ES, offset, <u32>bytes, true);
  slowStore(at, v, size, mmu);
  if (!bulk) h_dr_check(at, 0, <u32>bytes | 0x100);
}

/** Linear address of an offset known to be good. */
function quick(seg: u32, offset: u64): u64 {
  if (isCode64()) return seg < FS ? offset : segBase(seg) + offset;
  return (segBase(seg) + offset) & 0xffffffff;
}

/** Copies n elements between host addresses as the instruction does, one after the other. */
function copyRun(to: usize, from: usize, n: u64): void {
  const length = <usize>(n << size);
  if (down) {
    const back = length - <usize>bytes;
    const t = to - back;
    const f = from - back;
    if (t >= f || t + length <= f) {
      memory.copy(t, f, length);
      return;
    }
  } else if (to <= from || to >= from + length) {
    memory.copy(to, from, length);
    return;
  }
  // The destination runs into the source: a pattern is replicated.
  const step: usize = down ? 0 - <usize>bytes : <usize>bytes;
  for (let i: u64 = 0; i < n; i++) {
    if (size == 0) store<u8>(to, load<u8>(from));
    else if (size == 1) store<u16>(to, load<u16>(from));
    else if (size == 2) store<u32>(to, load<u32>(from));
    else store<u64>(to, load<u64>(from));
    to += step;
    from += step;
  }
}

export function h_rep_movs(a: u64, b: u64, imm: u32): u64 {
  begin(imm, MAX_BYTES >> (imm & 3));
  while (budget != 0) {
    const si = gpr(RSI) & addressMask;
    const di = gpr(RDI) & addressMask;
    let n = run(segment, si, SEG_RLIM);
    if (n > 1) {
      const m = run(ES, di, SEG_WLIM);
      if (m < n) n = m;
    }
    if (n > 1) {
      const from = direct(quick(segment, si), mmuFor(segment), ACC_READ);
      const to = direct(quick(ES, di), mmu, ACC_WRITE);
      if (from != 0 && to != 0) copyRun(to, from, n);
      else n = 0;
    }
    if (n < 2) {
      n = 1;
      writeAt(di, readAt(segment, si));
    }
    advance(RSI, n);
    advance(RDI, n);
    if (done(n)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

function fillRun(to: usize, v: u64, n: u64): void {
  const length = <usize>(n << size);
  const start = down ? to - (length - <usize>bytes) : to;
  const low = v & 0xff;
  if (size == 0 || trunc(v, size) == trunc(low * 0x0101010101010101, size)) {
    memory.fill(start, <u8>low, length);
    return;
  }
  const end = start + length;
  if (size == 1) for (let p = start; p < end; p += 2) store<u16>(p, <u16>v);
  else if (size == 2) for (let p = start; p < end; p += 4) store<u32>(p, <u32>v);
  else for (let p = start; p < end; p += 8) store<u64>(p, v);
}

export function h_rep_stos(a: u64, b: u64, imm: u32): u64 {
  begin(imm, MAX_BYTES >> (imm & 3));
  const v = gpr(RAX);
  while (budget != 0) {
    const di = gpr(RDI) & addressMask;
    let n = run(ES, di, SEG_WLIM);
    if (n > 1) {
      const to = direct(quick(ES, di), mmu, ACC_WRITE);
      if (to != 0) fillRun(to, v, n);
      else n = 0;
    }
    if (n < 2) {
      n = 1;
      writeAt(di, v);
    }
    advance(RDI, n);
    if (done(n)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

export function h_rep_lods(a: u64, b: u64, imm: u32): u64 {
  begin(imm, 0x1000);
  while (budget != 0) {
    const v = readAt(segment, gpr(RSI) & addressMask);
    setGprSized(RAX, v, size);
    advance(RSI, 1);
    if (done(1)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

/** Flags of first - second, lazily. */
function compare(first: u64, second: u64): void {
  w64(CC_DST, first);
  w64(CC_SRC, second);
  w64(CC_OP, CC_SUB + size);
}

/** After a comparison: whether REPE/REPNE stops. */
// @ts-ignore: decorator
@inline
function stops(first: u64, second: u64): bool {
  return rep != 0 && (first == second) != (rep == 1);
}

// @ts-ignore: decorator
@inline
function hostElement(p: usize): u64 {
  return size == 0 ? <u64>load<u8>(p) : size == 1 ? <u64>load<u16>(p) : size == 2 ? <u64>load<u32>(p) : load<u64>(p);
}

export function h_rep_cmps(a: u64, b: u64, imm: u32): u64 {
  begin(imm, 0x4000);
  while (budget != 0) {
    const si = gpr(RSI) & addressMask;
    const di = gpr(RDI) & addressMask;
    let n = run(segment, si, SEG_RLIM);
    if (n > 1) {
      const m = run(ES, di, SEG_RLIM);
      if (m < n) n = m;
    }
    if (n > 1) {
      let p = direct(quick(segment, si), mmuFor(segment), ACC_READ);
      let q = direct(quick(ES, di), mmu, ACC_READ);
      if (p != 0 && q != 0) {
        const step: usize = down ? 0 - <usize>bytes : <usize>bytes;
        let i: u64 = 0;
        let x: u64 = 0;
        let y: u64 = 0;
        let stop = false;
        while (i < n && !stop) {
          x = hostElement(p);
          y = hostElement(q);
          stop = stops(x, y);
          p += step;
          q += step;
          i++;
        }
        advance(RSI, i);
        advance(RDI, i);
        const last = done(i);
        compare(x, y);
        if (last || stop) return 0;
        continue;
      }
    }
    const x = readAt(segment, si);
    const at = linearOf(ES, di, <u32>bytes, false);
    if (!bulk) h_dr_check(at, 0, <u32>bytes);
    const y = slowLoad(at, size, mmu);
    advance(RSI, 1);
    advance(RDI, 1);
    const last = done(1);
    compare(x, y);
    if (last || stops(x, y)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

export function h_rep_scas(a: u64, b: u64, imm: u32): u64 {
  begin(imm, 0x4000);
  const v = trunc(gpr(RAX), size);
  while (budget != 0) {
    const di = gpr(RDI) & addressMask;
    const n = run(ES, di, SEG_RLIM);
    if (n > 1) {
      let q = direct(quick(ES, di), mmu, ACC_READ);
      if (q != 0) {
        const step: usize = down ? 0 - <usize>bytes : <usize>bytes;
        let i: u64 = 0;
        let y: u64 = 0;
        let stop = false;
        while (i < n && !stop) {
          y = hostElement(q);
          stop = stops(v, y);
          q += step;
          i++;
        }
        advance(RDI, i);
        const last = done(i);
        compare(v, y);
        if (last || stop) return 0;
        continue;
      }
    }
    const at = linearOf(ES, di, <u32>bytes, false);
    if (!bulk) h_dr_check(at, 0, <u32>bytes);
    const y = slowLoad(at, size, mmu);
    advance(RDI, 1);
    const last = done(1);
    compare(v, y);
    if (last || stops(v, y)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

// --- ports ---

/** #GP(0) unless the current level may use ports [port, port + n). */
export function ioPermission(port: u32, n: u32): void {
  if (!isPe() || (!isVm() && cpl() <= iopl())) return;
  const limit = r32(TR_LIMIT);
  const base = r64(TR_BASE);
  if ((r32(TR_FLAGS) & 0x800) == 0 || limit < 0x67) raise(X_GP, 0);
  const wrap: u64 = isLma() ? <u64>-1 : 0xffffffff;
  const at = <u32>ld16((base + 0x66) & wrap, MMU_KERNEL) + (port >> 3);
  // Two bytes are always read: the map ends with a byte of ones.
  if (at + 1 > limit) raise(X_GP, 0);
  const map = <u32>ld16((base + at) & wrap, MMU_KERNEL);
  if (((map >> (port & 7)) & ((1 << n) - 1)) != 0) raise(X_GP, 0);
}

export function h_io_check(a: u64, b: u64, imm: u32): u64 {
  ioPermission(<u32>a & 0xffff, imm);
  return 0;
}

export function h_in(a: u64, b: u64, imm: u32): u64 {
  const port = <u32>a & 0xffff;
  ioPermission(port, imm);
  ioBreakpoint(port, imm);
  return <u64>ioRead(port, imm);
}

export function h_out(a: u64, b: u64, imm: u32): u64 {
  const port = <u32>a & 0xffff;
  ioPermission(port, imm);
  ioBreakpoint(port, imm);
  ioWrite(port, imm, imm == 4 ? <u32>b : <u32>b & ((1 << (imm * 8)) - 1));
  return 0;
}

export function h_rep_ins(a: u64, b: u64, imm: u32): u64 {
  begin(imm, MAX_IO);
  const port = <u32>gpr(RDX) & 0xffff;
  if (budget != 0) ioPermission(port, <u32>bytes);
  while (budget != 0) {
    // Nothing may be read from the port that cannot be stored.
    const at = linearOf(ES, gpr(RDI) & addressMask, <u32>bytes, true);
    prepareStore(at, <u32>bytes, mmu);
    slowStore(at, <u64>ioRead(port, <u32>bytes), size, mmu);
    if (!bulk) {
      h_dr_check(at, 0, <u32>bytes | 0x100);
      ioBreakpoint(port, <u32>bytes);
    }
    advance(RDI, 1);
    if (done(1)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

export function h_rep_outs(a: u64, b: u64, imm: u32): u64 {
  begin(imm, MAX_IO);
  const port = <u32>gpr(RDX) & 0xffff;
  if (budget != 0) ioPermission(port, <u32>bytes);
  while (budget != 0) {
    const v = <u32>readAt(segment, gpr(RSI) & addressMask);
    ioWrite(port, <u32>bytes, v);
    if (!bulk) ioBreakpoint(port, <u32>bytes);
    advance(RSI, 1);
    if (done(1)) return 0;
  }
  return <u64>(rep != 0 && (gpr(RCX) & addressMask) != 0);
}

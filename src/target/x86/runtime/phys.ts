/**
 * AssemblyScript. Guest physical memory: the map of host pages (accel/tcg/map.ts), the A20 gate, loads and stores by
 * physical address, device access.
 */
import { A20_MASK } from "../layout";
import { CODE_PAGES as CODE_PAGES_AT, MAP_KIND, MAP_MMIO, MAP_RAM, PHYS_MAP as PHYS_MAP_AT, PHYS_MAP_PAGES as PAGES } from "../../../accel/tcg/map";
import { codeWrite, physRead, physWrite } from "./env";
import { r32 } from "./state";

const CODE_PAGES: usize = CODE_PAGES_AT;
const PHYS_MAP: usize = PHYS_MAP_AT;
const PHYS_MAP_PAGES: u64 = PAGES;

/** Whether a host page holds translated code. */
// @ts-ignore: decorator
@inline export function holdsCode(h: usize): bool { return load<u8>(CODE_PAGES + (h >> 12)) != 0; }

export function setHoldsCode(h: usize, on: u8): void {
  store<u8>(CODE_PAGES + (h >> 12), on);
}

/** @returns host address of the page that holds a physical address | MAP_* kind, or 0 */
export function mapEntry(phys: u64): u32 {
  const page = phys >> 12;
  if (page >= PHYS_MAP_PAGES) return 0;
  return load<u32>(PHYS_MAP + (<usize>page << 2));
}

/** @returns host address of a physical byte, 0 when it is not RAM or ROM */
function hostOf(phys: u64): usize {
  const e = mapEntry(phys);
  return (e & MAP_KIND) == MAP_MMIO ? 0 : <usize>((e & ~0xfff) | (<u32>phys & 0xfff));
}

export function physHost(low: u32, high: u32): u32 {
  return <u32>hostOf(<u64>low | (<u64>high << 32));
}

export function a20(phys: u64): u64 {
  return phys & (<u64>r32(A20_MASK) | 0xffffffff00000000);
}

/** Physical load of any size for tables and save areas; what is not memory reads as all ones. */
export function pte32(phys: u64): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? 0xffffffff : <u64>atomic.load<u32>(h);
}

export function pte64(phys: u64): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? <u64>-1 : atomic.load<u64>(h);
}

/** Device read in pieces a bus can do. */
export function mmioRead(phys: u64, bytes: u32): u64 {
  if (bytes == 8) return mmioRead(phys, 4) | (mmioRead(phys + 4, 4) << 32);
  return <u64>physRead(<u32>phys, <u32>(phys >> 32), bytes);
}

export function mmioWrite(phys: u64, bytes: u32, value: u64): void {
  if (bytes == 8) {
    mmioWrite(phys, 4, value);
    mmioWrite(phys + 4, 4, value >> 32);
  } else physWrite(<u32>phys, <u32>(phys >> 32), bytes, bytes == 4 ? <u32>value : <u32>value & ((1 << (bytes * 8)) - 1));
}

// @ts-ignore: decorator
@inline
export function hostLoad(h: usize, size: u32): u64 {
  return size == 0 ? <u64>load<u8>(h) : size == 1 ? <u64>load<u16>(h) : size == 2 ? <u64>load<u32>(h) : load<u64>(h);
}

// @ts-ignore: decorator
@inline
export function hostStore(h: usize, value: u64, size: u32): void {
  if (size == 0) store<u8>(h, <u8>value);
  else if (size == 1) store<u16>(h, <u16>value);
  else if (size == 2) store<u32>(h, <u32>value);
  else store<u64>(h, value);
}

export function physLoad(phys: u64, size: u32): u64 {
  const h = hostOf(a20(phys));
  return h == 0 ? mmioRead(a20(phys), 1 << size) : hostLoad(h, size);
}

export function physStore(phys: u64, value: u64, size: u32): void {
  const p = a20(phys);
  const e = mapEntry(p);
  if ((e & MAP_KIND) != MAP_RAM) {
    mmioWrite(p, 1 << size, value);
    return;
  }
  const h = <usize>((e & ~0xfff) | (<u32>p & 0xfff));
  if (holdsCode(h)) codeWrite(<u32>h, 1 << size);
  hostStore(h, value, size);
}

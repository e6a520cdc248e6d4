/**
 * AssemblyScript. Guest physical memory: the map of host pages (accel/tcg/map.ts), loads and stores by physical address,
 * device access. Values are little-endian numbers; big-endian guests swap them in translated code.
 */
import { CODE_PAGES as CODE_PAGES_AT, MAP_KIND, MAP_MMIO, MAP_RAM, PHYS_MAP as PHYS_MAP_AT, PHYS_MAP_PAGES as PAGES } from "../../../accel/tcg/map";
import { codeWrite, physRead, physWrite } from "./env";

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
export function hostOf(phys: u64): usize {
  const e = mapEntry(phys);
  return (e & MAP_KIND) == MAP_MMIO ? 0 : <usize>((e & ~0xfff) | (<u32>phys & 0xfff));
}

/** Big-endian doubleword of a table in RAM; what is not memory reads as zero. */
export function table64(phys: u64): u64 {
  const h = hostOf(phys);
  return h == 0 ? 0 : bswap<u64>(load<u64>(h));
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
  const h = hostOf(phys);
  return h == 0 ? mmioRead(phys, 1 << size) : hostLoad(h, size);
}

export function physStore(phys: u64, value: u64, size: u32): void {
  const e = mapEntry(phys);
  if ((e & MAP_KIND) != MAP_RAM) {
    mmioWrite(phys, 1 << size, value);
    return;
  }
  const h = <usize>((e & ~0xfff) | (<u32>phys & 0xfff));
  if (holdsCode(h)) codeWrite(<u32>h, 1 << size);
  hostStore(h, value, size);
}

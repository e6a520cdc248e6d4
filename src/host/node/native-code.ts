/** Machine code of our own in this process, for comparisons with a guest's: pages that may be written and executed. */
import { VmError } from "../../base/errors.js";
import { loadKoffi } from "./syscalls.js";

const PROT_RWX = 7;
const MAP_PRIVATE_ANONYMOUS = 0x22;

export interface NativeCode {
  readonly code: { readonly bytes: Uint8Array; readonly address: number };
  /** Address of the data. */
  readonly data: number;
  /** Calls code at an address with two arguments (System V: RDI, RSI). */
  call(address: number, first: number, second: number): void;
}

/** @throws VmError "host/no-ffi" */
export async function nativeCode(codeBytes: number, dataBytes: number): Promise<NativeCode> {
  const koffi = await loadKoffi();
  const libc = koffi.load("libc.so.6");
  const mmap = libc.func("void* mmap(void*, size_t, int, int, int, int64_t)") as unknown as (...a: unknown[]) => unknown;
  const pages = (bytes: number) => {
    const p = mmap(null, bytes, PROT_RWX, MAP_PRIVATE_ANONYMOUS, -1, 0);
    const address = Number(koffi.address(p));
    if (address <= 0 || address >= 2 ** 63) throw new VmError("host/no-ffi", "the host gives no executable memory");
    return { bytes: new Uint8Array(koffi.view(p, bytes)), address };
  };
  const type = koffi.proto("int native_code(uint64_t, uint64_t)");
  return {
    code: pages(codeBytes),
    data: pages(dataBytes).address,
    call: (address, first, second) => void koffi.call(address, type, first, second),
  };
}

/** AssemblyScript. FPSCR and what translated code needs of it. */
import { FP_FAST, FPSCR } from "../layout";
import { env } from "./env";

/** FP_FAST from FPSCR: native arithmetic needs rounding to nearest, the inexact bit set, no enabled exception, no non-IEEE mode. */
export function updateFpFast(): void {
  const f = <u32>load<u64>(env + FPSCR);
  const fast: u32 = (f & 0xf8) != 0 ? 0 : (f & 3) == 0 && (f & 0x02000000) != 0 && (f & 4) == 0 ? 1 : 2;
  store<u32>(env + FP_FAST, fast);
}

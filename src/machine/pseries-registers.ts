/** `info registers` of a PowerPC vCPU, in QEMU 7.2's layout, and registers by name. */
import type { PpcCpu } from "../target/ppc/cpu.js";

const hex = (value: bigint, digits = 16): string => value.toString(16).padStart(digits, "0");

/** CR fields as letters: less, greater, equal, summary overflow. */
function conditionField(bits: number): string {
  const letter = bits & 8 ? "L" : bits & 4 ? "G" : bits & 2 ? "E" : "-";
  return ` ${letter}${bits & 1 ? "O" : " "}`;
}

function rows(name: string, value: (n: number) => bigint): string {
  let out = "";
  for (let n = 0; n < 32; n += 4)
    out += `${name}${String(n).padStart(2, "0")} ${[0, 1, 2, 3].map((i) => hex(value(n + i))).join(" ")}\n`;
  return out;
}

/** @param decrementer its value now; @param timeBase of the machine */
export function registersText(cpu: PpcCpu, timeBase: number, pvr: number): string {
  const reg = (name: string) => hex(cpu.reg(name));
  const cr = Number(cpu.reg("cr"));
  const fields = Array.from({ length: 8 }, (_, i) => conditionField((cr >>> (4 * (7 - i))) & 15)).join(" ");
  const tb = BigInt(timeBase);
  return (
    `NIP ${reg("nip")}   LR ${reg("lr")} CTR ${reg("ctr")} XER ${reg("xer")} CPU#${cpu.index}\n` +
    `MSR ${hex(cpu.msr)}\n` +
    `TB ${hex(tb >> 32n, 8)} ${hex(tb & 0xffffffffn, 8)}\n` +
    rows("GPR", (n) => cpu.gpr(n)) +
    `CR ${hex(BigInt(cr >>> 0), 8)}  [${fields} ]\n` +
    rows("FPR", (n) => cpu.vsr(n)[0]) +
    `FPSCR ${reg("fpscr")}\n` +
    ` SRR0 ${reg("srr0")}  SRR1 ${reg("srr1")}    PVR ${hex(BigInt(pvr))}\n` +
    `SPRG0 ${reg("sprg0")} SPRG1 ${reg("sprg1")}  SPRG2 ${reg("sprg2")}  SPRG3 ${reg("sprg3")}\n` +
    ` CFAR ${reg("cfar")}\n` +
    ` LPCR ${hex(cpu.lpcr)}\n` +
    `  PID ${reg("pid")}   DAR ${reg("dar")}  DSISR ${reg("dsisr")}\n`
  );
}

/** Names that `$name` in the monitor's expressions knows besides those of `PpcCpu.reg`. */
export function registerByName(cpu: PpcCpu, name: string): bigint | undefined {
  const numbered = /^(r|f)(\d{1,2})$/.exec(name);
  if (numbered && Number(numbered[2]) < 32)
    return numbered[1] === "r" ? cpu.gpr(Number(numbered[2])) : cpu.vsr(Number(numbered[2]))[0];
  if (name === "pc") return cpu.reg("nip");
  if (name === "lpcr") return cpu.lpcr;
  const plain = ["nip", "lr", "ctr", "xer", "msr", "cr", "srr0", "srr1", "dar", "dsisr", "pid", "cfar", "pir", "fpscr"];
  return plain.includes(name) || /^sprg[0-3]$/.test(name) ? cpu.reg(name) : undefined;
}

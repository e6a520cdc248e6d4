/** `info registers` of an x86 vCPU, in QEMU's layout, and registers by name. */
import type { GuestRam } from "../memory/ram.js";
import * as L from "../target/x86/layout.js";

const NAMES64 = "RAX RBX RCX RDX RSI RDI RBP RSP R8 R9 R10 R11 R12 R13 R14 R15".split(" ");
const ORDER = [0, 3, 1, 2, 6, 7, 5, 4, 8, 9, 10, 11, 12, 13, 14, 15];
const SEGMENTS = "ES CS SS DS FS GS".split(" ");

/** A reader of one vCPU's state. */
export class RegisterView {
  constructor(
    private readonly ram: GuestRam,
    private readonly env: number,
    private readonly eflags: () => number,
  ) {}

  u32(offset: number): number {
    return this.ram.u32[(this.env + offset) >>> 2]!;
  }

  u64(offset: number): bigint {
    return (BigInt(this.u32(offset + 4)) << 32n) | BigInt(this.u32(offset));
  }

  /** A register by lower-case name. */
  register(name: string): bigint | undefined {
    const wide = NAMES64.findIndex((n) => n.toLowerCase() === name);
    if (wide >= 0) return this.u64(L.GPR + 8 * ORDER[wide]!);
    const narrow = NAMES64.slice(0, 8).findIndex((n) => `e${n.slice(1).toLowerCase()}` === name);
    if (narrow >= 0) return BigInt(this.u32(L.GPR + 8 * ORDER[narrow]!));
    switch (name) {
      case "rip":
      case "eip":
        return this.u64(L.RIP);
      case "pc":
        // The linear address, as QEMU's monitor has it.
        return this.u64(L.RIP) + (this.u32(L.HFLAGS) & L.HF_CS64 ? 0n : this.u64(L.SEG_BASE + 8));
      case "eflags":
      case "rflags":
        return BigInt(this.eflags());
      case "cr0":
        return this.u64(L.CR0);
      case "cr2":
        return this.u64(L.CR2);
      case "cr3":
        return this.u64(L.CR3);
      case "cr4":
        return this.u64(L.CR4);
    }
    const seg = SEGMENTS.findIndex((s) => name.startsWith(s.toLowerCase()));
    if (seg >= 0) {
      if (name.length === 2) return BigInt(this.u32(L.SEG_SEL + 4 * seg));
      if (name.endsWith(".base")) return this.u64(L.SEG_BASE + 8 * seg);
      if (name.endsWith(".limit")) return BigInt(this.u32(L.SEG_LIMIT + 4 * seg));
    }
    return undefined;
  }

  text(): string {
    const hflags = this.u32(L.HFLAGS);
    const long = (hflags & L.HF_CS64) !== 0;
    const hex = (v: bigint | number, digits: number) => v.toString(16).padStart(digits, "0");
    const out: string[] = [];
    const count = long ? 16 : 8;
    const digits = long ? 16 : 8;
    let line: string[] = [];
    for (let i = 0; i < count; i++) {
      const n = NAMES64[i]!;
      const label = long ? n.padEnd(3) : `E${n.slice(1)}`;
      const v = this.u64(L.GPR + 8 * ORDER[i]!);
      line.push(`${label}=${hex(long ? v : v & 0xffffffffn, digits)}`);
      if (line.length === 4) {
        out.push(line.join(" "));
        line = [];
      }
    }
    const fl = this.eflags();
    const flag = (bit: number, c: string) => (fl & bit ? c : "-");
    const letters =
      flag(0x400, "D") + flag(0x800, "O") + flag(0x80, "S") + flag(0x40, "Z") + flag(0x10, "A") + flag(4, "P") + flag(1, "C");
    const pc = this.u64(L.RIP);
    out.push(
      `${long ? "RIP" : "EIP"}=${hex(long ? pc : pc & 0xffffffffn, digits)} ${long ? "RFL" : "EFL"}=${hex(fl, 8)} [${letters}] CPL=${hflags & 3} II=${this.u32(L.INHIBIT)} A20=${this.u32(L.A20_MASK) === 0xffffffff ? 1 : 0} SMM=${this.u32(L.SMM)} HLT=${this.u32(L.HALTED) ? 1 : 0}`,
    );
    const attributes = (name: string, sel: number, base: bigint, limit: number, flags: number) =>
      out.push(
        `${name.padEnd(3)}=${hex(sel, 4)} ${hex(long ? base : base & 0xffffffffn, digits)} ${hex(limit, 8)} ${hex(flags & 0xf0ff00, 8)}`,
      );
    for (const [i, n] of SEGMENTS.entries())
      attributes(
        `${n} `,
        this.u32(L.SEG_SEL + 4 * i),
        this.u64(L.SEG_BASE + 8 * i),
        this.u32(L.SEG_LIMIT + 4 * i),
        this.u32(L.SEG_FLAGS + 4 * i),
      );
    attributes("LDT", this.u32(L.LDTR_SEL), this.u64(L.LDTR_BASE), this.u32(L.LDTR_LIMIT), this.u32(L.LDTR_FLAGS));
    attributes("TR ", this.u32(L.TR_SEL), this.u64(L.TR_BASE), this.u32(L.TR_LIMIT), this.u32(L.TR_FLAGS));
    out.push(`GDT=     ${hex(this.u64(L.GDT_BASE), digits)} ${hex(this.u32(L.GDT_LIMIT), 8)}`);
    out.push(`IDT=     ${hex(this.u64(L.IDT_BASE), digits)} ${hex(this.u32(L.IDT_LIMIT), 8)}`);
    out.push(
      `CR0=${hex(this.u32(L.CR0), 8)} CR2=${hex(this.u64(L.CR2), digits)} CR3=${hex(this.u64(L.CR3), digits)} CR4=${hex(this.u32(L.CR4), 8)}`,
    );
    const dr = (i: number) => `DR${i}=${hex(this.u64(L.DR + 8 * i), long ? 16 : 8)}`;
    out.push([0, 1, 2, 3].map(dr).join(" "));
    out.push(`${dr(6)} ${dr(7)}`);
    out.push(`EFER=${hex(this.u64(L.EFER), 16)}`);
    out.push(
      `FCW=${hex(this.u32(L.FCW), 4)} FSW=${hex(this.u32(L.FSW) | (this.u32(L.FTOP) << 11), 4)} [ST=${this.u32(L.FTOP)}] FTW=${hex(~this.u32(L.FTAGS) & 255, 2)} MXCSR=${hex(this.u32(L.MXCSR), 8)}`,
    );
    for (let i = 0; i < 8; i += 2)
      out.push(
        [i, i + 1]
          .map((k) => `FPR${k}=${hex(this.u64(L.FPR + 16 * k), 16)} ${hex(this.u32(L.FPR + 16 * k + 8) & 0xffff, 4)}`)
          .join(" "),
      );
    const xmms = long ? 16 : 8;
    for (let i = 0; i < xmms; i += 2)
      out.push(
        [i, i + 1]
          .map(
            (k) =>
              `XMM${String(k).padStart(2, "0")}=${hex(this.u64(L.XMM + 16 * k + 8), 16)}${hex(this.u64(L.XMM + 16 * k), 16)}`,
          )
          .join(" "),
      );
    return `${out.join("\n")}\n`;
  }
}

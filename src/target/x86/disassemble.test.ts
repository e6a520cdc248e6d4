import assert from "node:assert/strict";
import { test } from "node:test";
import { disassemble } from "./disassemble.js";
import { HF_CS32, HF_CS64 } from "./layout.js";
import { rows } from "./opcodes.js";

const MODES = { 16: 0, 32: HF_CS32, 64: HF_CS32 | HF_CS64 } as const;

/** mode, bytes at 0x1000, text */
const ROWS: [16 | 32 | 64, string, string][] = [
  [16, "ea 5b e0 00 f0", "ljmpw    $0xf000:$0xe05b"],
  [16, "2e 66 83 3e 98 61 00", "cmpl     $0, %cs:0x6198"],
  [16, "0f 85 66 f0", "jne      0x6a"],
  [16, "8b 46 fe", "movw     -2(%bp), %ax"],
  [16, "67 8b 04 b5 10 00 00 00", "movw     0x10(, %esi, 4), %ax"],
  [16, "f3 a5", "rep movsw (%si), %es:(%di)"],
  [16, "f3 67 66 a5", "rep movsl (%esi), %es:(%edi)"],
  [16, "e6 70", "outb     %al, $0x70"],
  [16, "cd 10", "int      $0x10"],
  [16, "66 c3", "retl"],
  [32, "b8 ff ff ff ff", "movl     $0xffffffff, %eax"],
  [32, "83 c4 f0", "addl     $-0x10, %esp"],
  [32, "80 7d 08 ff", "cmpb     $-1, 8(%ebp)"],
  [32, "0f b6 c4", "movzbl   %ah, %eax"],
  [32, "f0 0f b1 0b", "lock cmpxchgl %ecx, (%ebx)"],
  [32, "65 a1 14 00 00 00", "movl     %gs:0x14, %eax"],
  [32, "ff 24 85 00 20 00 00", "jmpl     *0x2000(, %eax, 4)"],
  [32, "ff d0", "calll    *%eax"],
  [32, "e8 fb ff ff ff", "calll    0x1000"],
  [32, "c8 10 00 01", "enter    $0x10, $1"],
  [32, "62 56 4e", "boundl   %edx, 0x4e(%esi)"],
  [32, "0f 22 d8", "movl     %eax, %cr3"],
  [32, "8e d8", "movl     %eax, %ds"],
  [32, "8c 5d 00", "movw     %ds, (%ebp)"],
  [32, "dc e9", "fsubr    %st(0), %st(1)"],
  [32, "de f9", "fdivrp   %st(0), %st(1)"],
  [32, "dd 45 f8", "fldl     -8(%ebp)"],
  [32, "df 6d f8", "fildll   -8(%ebp)"],
  [32, "98", "cwtl"],
  [32, "66 98", "cbtw"],
  [32, "66 99", "cwtd"],
  [32, "d1 e0", "shll     %eax"],
  [32, "d3 f8", "sarl     %cl, %eax"],
  [32, "e3 00", "jecxz    0x1002"],
  [32, "0f 0b", "ud2"],
  [32, "f3 0f b8 c1", "popcntl  %ecx, %eax"],
  [32, "f3 0f bc c1", "tzcntl   %ecx, %eax"],
  [32, "0f bc c1", "bsfl     %ecx, %eax"],
  [32, "f3 0f bd c1", "lzcntl   %ecx, %eax"],
  [32, "f2 0f bd c1", "bsrl     %ecx, %eax"],
  [64, "48 b8 88 77 66 55 44 33 22 11", "movabsq  $0x1122334455667788, %rax"],
  [64, "48 c7 c0 ff ff ff ff", "movq     $-1, %rax"],
  [64, "48 8b 05 10 00 00 00", "movq     0x10(%rip), %rax"],
  [64, "65 48 8b 04 25 28 00 00 00", "movq     %gs:0x28, %rax"],
  [64, "48 63 c8", "movslq   %eax, %rcx"],
  [64, "41 54", "pushq    %r12"],
  [64, "41 0f b6 c4", "movzbl   %r12b, %eax"],
  [64, "40 88 f7", "movb     %sil, %dil"],
  [64, "e8 00 00 00 00", "callq    0x1005"],
  [64, "eb fe", "jmp      0x1000"],
  [64, "c3", "retq"],
  [64, "f3 48 ab", "rep stosq %rax, %es:(%rdi)"],
  [64, "f2 ae", "repne scasb %es:(%rdi), %al"],
  [64, "f3 90", "pause"],
  [64, "49 90", "xchgq    %r8, %rax"],
  [64, "f3 0f 1e fa", "endbr64"],
  [64, "66 0f 1f 44 00 00", "nopw     (%rax, %rax)"],
  [64, "0f 05", "syscall"],
  [64, "0f 01 f8", "swapgs"],
  [64, "66 0f 6f 01", "movdqa   (%rcx), %xmm0"],
  [64, "66 48 0f 6e c0", "movq     %rax, %xmm0"],
  [64, "f2 48 0f 2a c0", "cvtsi2sdq %rax, %xmm0"],
  [64, "f2 0f c2 c1 01", "cmpltsd  %xmm1, %xmm0"],
  [64, "66 0f 73 f9 08", "pslldq   $8, %xmm1"],
  [64, "66 0f 38 14 c1", "blendvps %xmm0, %xmm1, %xmm0"],
  [64, "f2 48 0f 38 f1 c1", "crc32q   %rcx, %rax"],
  [64, "48 0f c7 0f", "cmpxchg16b (%rdi)"],
  [64, "0f 18 08", "prefetcht0 (%rax)"],
  [64, "06", ".byte    0x06"],
  [64, "f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 f0 90", ".byte    0xf0"],
];

for (const [mode, hex, text] of ROWS)
  test(`${mode}-bit ${hex}`, () => {
    const bytes = hex.split(" ").map((b) => Number.parseInt(b, 16));
    const d = disassemble({ byte: (k) => bytes[k] ?? 0 }, 0, 0x1000n, MODES[mode]);
    assert.equal(d.text, text);
    assert.equal(d.length, text.startsWith(".byte") ? 1 : bytes.length);
  });

test("every row of the tables has lower-case text without holes in every mode", () => {
  for (const r of rows) {
    const bytes = encode(r.key, r.modrm);
    for (const mode of [16, 32, 64] as const) {
      const d = disassemble({ byte: (k) => bytes[k] ?? 0x11 }, 0, 0x1000n, MODES[mode]);
      assert.doesNotMatch(d.text, /undefined|NaN|[A-Z]/, `${r.key} ${r.text}: ${d.text}`);
    }
  }
});

/** Some bytes of a row's key. */
function encode(key: string, modrm: boolean): number[] {
  const out: number[] = [];
  let m = 0x00;
  for (const w of key.split(" ")) {
    if (w === "np" || w === "m") continue;
    if (w === "r") m |= 0xc0;
    else if (w.startsWith("/")) m |= Number(w[1]) << 3;
    else if (w.startsWith("=")) m = Number.parseInt(w.slice(1), 16);
    else out.push(Number.parseInt(w.slice(0, 2), 16));
  }
  return modrm ? [...out, m] : out;
}

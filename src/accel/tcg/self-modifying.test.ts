/** Code that changes: by itself, by its neighbours, through another address, by a device, by new page tables. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CODE_AT, type Mode, ProgramRig } from "../../../testkit/program-rig.js";

const hex = (text: string) =>
  text
    .trim()
    .split(/\s+/)
    .map((b) => Number.parseInt(b, 16));
const EAX = 0;
const EBX = 3;

/** Runs `body` on tier 0 and on tier 1 with different thresholds. */
function onTiers(name: string, mode: Mode, body: (rig: ProgramRig) => void): void {
  for (const [tier, threshold] of [
    [0, 1],
    [1, 1],
    [1, 3],
    [1, 40],
  ] as const)
    test(`${name}: tier ${tier}, threshold ${threshold}`, () => body(new ProgramRig({ mode, tier, threshold, paging: true })));
}

onTiers("a block overwrites an instruction further on in itself", 32, (rig) => {
  rig.load(
    CODE_AT,
    hex(`b8 55 00 00 00
      c6 05 0d 80 00 00 77
      bb 11 00 00 00
      f4`),
  );
  for (let n = 0; n < 5; n++) {
    rig.load(CODE_AT + 0xd, [0x11]);
    rig.engine.ramWritten(rig.base + CODE_AT + 0xd, 1);
    rig.resetState();
    const s = rig.run();
    assert.equal(s.end, "halted");
    assert.equal(s.gpr[EBX], 0x77n);
    assert.equal(s.insns, 4);
  }
});

onTiers("a loop patches its own immediate each time round", 32, (rig) => {
  rig.load(
    CODE_AT,
    hex(`b9 c8 00 00 00
      31 c0
      88 0d 0e 80 00 00
      b2 00
      0f b6 d2
      01 d0
      49
      75 f0
      f4`),
  );
  const s = rig.run();
  assert.equal(s.gpr[EAX], BigInt((200 * 201) / 2));
  assert.equal(s.insns, 2 + 200 * 6 + 1);
});

/** 200 calls of a function elsewhere; every 32nd call its immediate is incremented. */
const CALLER = `b9 c8 00 00 00
  31 c0
  be 00 a0 00 00
  ff d6
  f6 c1 1f
  75 06
  fe 05 01 a0 00 00
  49
  75 eb
  f4`;
/** mov dl, 1; movzx edx, dl; add eax, edx; ret */
const FUNCTION = "b2 01 0f b6 d2 01 d0 c3";
function expectedSum(): number {
  let sum = 0;
  let add = 1;
  for (let n = 200; n > 0; n--) {
    sum += add;
    if (n % 32 === 0) add++;
  }
  return sum;
}

onTiers("a hot function is patched from another page", 32, (rig) => {
  rig.load(CODE_AT, hex(CALLER));
  rig.load(0xa000, hex(FUNCTION));
  assert.equal(rig.run().gpr[EAX], BigInt(expectedSum()));
});

onTiers("a hot function is patched through another address", 32, (rig) => {
  rig.load(CODE_AT, hex(CALLER.replace("fe 05 01 a0 00 00", "fe 05 01 b0 00 00")));
  rig.load(0xa000, hex(FUNCTION));
  rig.mapPage(0xb, 3, 0xa);
  assert.equal(rig.run().gpr[EAX], BigInt(expectedSum()));
});

onTiers("the patched instruction lies across two pages, and the second half changes", 32, (rig) => {
  // The function is at 0xafff: opcode in one page, immediate in the next.
  rig.load(CODE_AT, hex(CALLER.replace("be 00 a0 00 00", "be ff af 00 00").replace("fe 05 01 a0 00 00", "fe 05 00 b0 00 00")));
  rig.load(0xafff, hex(FUNCTION));
  assert.equal(rig.run().gpr[EAX], BigInt(expectedSum()));
});

onTiers("data next to code in the same page is written all the time", 32, (rig) => {
  // mov ecx,1000; L: inc dword [0x8100]; add eax,[0x8100]; dec ecx; jnz L; hlt
  rig.load(CODE_AT, hex("b9 e8 03 00 00 ff 05 00 81 00 00 03 05 00 81 00 00 49 75 f1 f4"));
  const s = rig.run();
  assert.equal(s.gpr[EAX], 500500n);
  assert.equal(rig.u32(0x8100), 1000);
});

onTiers("a device writes into hot code", 64, (rig) => {
  // mov ecx,1000; L: add rax,1; dec ecx; jnz L; hlt
  rig.load(CODE_AT, hex("b9 e8 03 00 00 48 83 c0 01 ff c9 75 f8 f4"));
  for (const step of [1, 5, 7]) {
    rig.dma(CODE_AT + 8, [step]);
    rig.resetState();
    const s = rig.run(100_000, 100);
    assert.equal(s.gpr[EAX], BigInt(1000 * step));
  }
});

onTiers("a device writes into hot code between two turns", 64, (rig) => {
  // L: add rax,1; jmp L
  rig.load(CODE_AT, hex("48 83 c0 01 eb fa"));
  rig.engine.run(0, 10_000);
  const before = rig.gpr(EAX);
  rig.dma(CODE_AT + 3, [100]);
  rig.engine.run(0, 10_000);
  assert.equal((rig.gpr(EAX) - before) % 100n, 0n);
});

onTiers("another page is mapped where hot code was", 64, (rig) => {
  // Two versions of a function at 0xa000; the caller changes the page table entry and does INVLPG.
  const entry = 0x103000 + 0xa * 8;
  const le = (v: number) => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
  // mov ecx,300; L: mov esi,0xa000; call rsi; xor dword [entry],0x1000; invlpg [0xa000]; dec ecx; jnz L; hlt
  rig.load(CODE_AT, [
    ...hex("b9 2c 01 00 00 be 00 a0 00 00 ff d6"),
    ...hex("81 34 25"),
    ...le(entry),
    ...le(0x1000),
    ...hex("0f 01 3c 25"),
    ...le(0xa000),
    ...hex("ff c9 75 e2 f4"),
  ]);
  // add rax,1; ret and add rax,3; ret
  rig.load(0xa000, hex("48 83 c0 01 c3"));
  rig.load(0xb000, hex("48 83 c0 03 c3"));
  const s = rig.run();
  assert.equal(s.end, "halted");
  assert.equal(s.vector, -1);
  assert.equal(s.gpr[EAX], BigInt(150 * 1 + 150 * 3));
});

onTiers("another page is mapped and CR3 is loaded", 64, (rig) => {
  const entry = 0x103000 + 0xa * 8;
  const le = (v: number) => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
  rig.load(CODE_AT, [
    ...hex("b9 2c 01 00 00 be 00 a0 00 00 ff d6"),
    ...hex("81 34 25"),
    ...le(entry),
    ...le(0x1000),
    // mov rdx,cr3; mov cr3,rdx
    ...hex("0f 20 da 0f 22 da"),
    ...hex("ff c9 75 e4 f4"),
  ]);
  rig.load(0xa000, hex("48 83 c0 01 c3"));
  rig.load(0xb000, hex("48 83 c0 03 c3"));
  const s = rig.run();
  assert.equal(s.vector, -1);
  assert.equal(s.gpr[EAX], BigInt(150 * 1 + 150 * 3));
});

onTiers("code is copied to a new place and run, many times", 64, (rig) => {
  // The copy loop writes 8 bytes of a function to 0xa000 + 16 n and calls it: n from 0 to 255, then all again.
  // mov ecx,512; L: mov eax,ecx; and eax,255; shl eax,4; lea rdi,[rax+0xa000]; mov rdx,[0xc000]; add [0xc001],1 (byte);
  // mov [rdi],rdx; call rdi; add rbx,rax; dec ecx; jnz L; hlt
  rig.load(
    CODE_AT,
    hex(`b9 00 02 00 00
      89 c8 25 ff 00 00 00 c1 e0 04
      48 8d b8 00 a0 00 00
      48 8b 14 25 00 c0 00 00
      80 04 25 01 c0 00 00 01
      48 89 17
      ff d7
      48 01 c3
      ff c9
      75 d3
      f4`),
  );
  // mov eax, imm32 (low byte changes); ret
  rig.load(0xc000, hex("b8 00 00 00 00 c3 90 90"));
  let expected = 0n;
  for (let n = 0; n < 512; n++) expected += BigInt(n & 255);
  const s = rig.run();
  assert.equal(s.end, "halted");
  assert.equal(s.vector, -1);
  assert.equal(s.gpr[EBX], expected);
});

onTiers("the block area fills up: everything is dropped and translated again", 64, (rig) => {
  // mov ecx,40000; L: add rax,3; dec ecx; jnz L; hlt
  rig.load(CODE_AT, hex("b9 40 9c 00 00 48 83 c0 03 ff c9 75 f8 f4"));
  const allocate = rig.engine.cache.allocate.bind(rig.engine.cache);
  let calls = 0;
  rig.engine.cache.allocate = (bytes) => (++calls % 3 === 0 ? 0 : allocate(bytes));
  for (let n = 0; n < 20; n++) {
    rig.resetState();
    rig.engine.flushAll();
    assert.equal(rig.run(1_000_000, 777).gpr[EAX], 120000n);
  }
});

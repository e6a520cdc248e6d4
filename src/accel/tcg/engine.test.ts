/** The run loop: budgets, events, faults and what follows them, memory-mapped I/O, several vCPUs. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { CODE_AT, DATA_AT, MMIO_AT, type Mode, ProgramRig } from "../../../testkit/program-rig.js";
import * as L from "../../target/x86/layout.js";

const hex = (text: string) =>
  text
    .trim()
    .split(/\s+/)
    .map((b) => Number.parseInt(b, 16));
const le = (v: number) => [v & 255, (v >> 8) & 255, (v >> 16) & 255, v >>> 24];
const EAX = 0;
const ECX = 1;
/** Longest block, and longest way through a region without a loop. */
const OVERRUN = { 0: 64, 1: 64 + 300 } as const;

function onTiers(name: string, mode: Mode, body: (rig: ProgramRig, tier: 0 | 1) => void): void {
  for (const tier of [0, 1] as const)
    test(`${name}: tier ${tier}`, () => body(new ProgramRig({ mode, tier, threshold: 2, cpus: 2, paging: true }), tier));
}

/** mov ecx, n; L: add rax,rcx; test cl,3; jnz M; xor rdx,rax; M: dec ecx; jnz L; hlt */
const loop = (n: number) => [0xb9, ...le(n), ...hex("48 01 c8 f6 c1 03 75 03 48 31 c2 ff c9 75 f1 f4")];

onTiers("a turn ends soon after its budget, and every instruction is counted once", 64, (rig, tier) => {
  rig.load(CODE_AT, loop(3000));
  const total = rig.run(1_000_000, 1_000_000).insns;
  assert.equal(total, 1 + 3000 * 5 + 750 + 1);
  for (const slice of [0, 1, 2, 3, 7, 64, 1000]) {
    rig.resetState();
    let sum = 0;
    for (let turns = 0; turns < 100_000; turns++) {
      const r = rig.engine.run(0, slice);
      assert.ok(rig.engine.lastUsed <= slice + OVERRUN[tier], `slice ${slice}: ${rig.engine.lastUsed}`);
      assert.ok(rig.engine.lastUsed > 0);
      sum += rig.engine.lastUsed;
      if (r === "halted") break;
    }
    assert.equal(sum, total, `slice ${slice}`);
    assert.equal(rig.gpr(ECX), 0n);
  }
});

onTiers("a long straight block keeps to the budget too", 64, (rig, tier) => {
  // 1000 x inc eax; jmp back
  const code = [...new Array(1000).fill(0).flatMap(() => [0xff, 0xc0]), 0xe9, ...le(-2005)];
  rig.load(CODE_AT, code);
  let sum = 0;
  for (let n = 0; n < 300; n++) {
    rig.engine.run(0, 10);
    assert.ok(rig.engine.lastUsed <= 10 + OVERRUN[tier]);
    sum += rig.engine.lastUsed;
  }
  const rounds = Math.floor(sum / 1001);
  assert.equal(Number(rig.gpr(EAX)), rounds * 1000 + (sum % 1001));
});

onTiers("EV_EXIT ends the turn at once", 64, (rig) => {
  rig.load(CODE_AT, hex("ff c0 eb fc"));
  rig.engine.run(0, 10_000);
  rig.engine.signal(0, L.EV_EXIT);
  assert.equal(rig.engine.run(0, 1_000_000), "exit");
  assert.equal(rig.engine.lastUsed, 0);
  assert.equal(rig.engine.run(0, 1000), "budget");
});

onTiers("a port that asks for the end of the turn gets it after that instruction", 64, (rig) => {
  // L: inc eax; out 0x80,al; inc eax; jmp L
  rig.load(CODE_AT, hex("ff c0 e6 80 ff c0 eb f8"));
  const push = rig.events.push.bind(rig.events);
  rig.events.push = (...e) => {
    rig.engine.signal(0, L.EV_EXIT);
    return push(...e);
  };
  for (let n = 0; n < 20; n++) {
    assert.equal(rig.engine.run(0, 1_000_000), "exit");
    assert.equal(rig.gpr(EAX), BigInt(1 + 2 * n));
  }
});

onTiers("memory-mapped I/O in a hot loop: order, sizes and values are the program's", 64, (rig) => {
  // mov ecx,50; mov ebx,MMIO; L: mov eax,[rbx]; mov [rbx+8],ax; add dword [rbx+4],5; movzx edx,byte [rbx+rcx]; dec ecx; jnz L; hlt
  rig.load(CODE_AT, [
    ...hex("b9 32 00 00 00 bb"),
    ...le(MMIO_AT),
    ...hex("8b 03 66 89 43 08 83 43 04 05 0f b6 14 0b ff c9 75 ee f4"),
  ]);
  rig.readBus = (at, size) => (at + size) & (size === 1 ? 255 : 0xffffffff);
  const s = rig.run();
  assert.equal(s.end, "halted");
  const expected = [];
  for (let n = 50; n > 0; n--) {
    expected.push({ kind: "read", at: MMIO_AT, size: 4 });
    expected.push({ kind: "write", at: MMIO_AT + 8, size: 2, value: (MMIO_AT + 4) & 0xffff });
    expected.push({ kind: "read", at: MMIO_AT + 4, size: 4 });
    expected.push({ kind: "write", at: MMIO_AT + 4, size: 4, value: MMIO_AT + 8 + 5 });
    expected.push({ kind: "read", at: MMIO_AT + n, size: 1 });
  }
  assert.deepEqual(s.events, expected);
});

onTiers("an access across RAM and I/O, unaligned, in both directions", 64, (rig) => {
  // mov ebx,MMIO-2; mov ecx,20; L: mov eax,[rbx]; mov [rbx],eax; dec ecx; jnz L; hlt
  rig.load(CODE_AT, [0xbb, ...le(MMIO_AT - 2), ...hex("b9 14 00 00 00 8b 03 89 03 ff c9 75 f8 f4")]);
  rig.load(MMIO_AT - 2, [0x12, 0x34]);
  rig.readBus = () => 0x5a;
  const s = rig.run();
  assert.equal(s.vector, -1);
  assert.equal(s.gpr[EAX]! & 0xffffn, 0x3412n);
  assert.equal(rig.u32(MMIO_AT - 4) >>> 16, 0x3412);
});

/** A page fault handler that maps the page, and the program goes on; 64-bit. */
function faultHandler(rig: ProgramRig): void {
  // push rax; push rbx; mov rax,cr2; shr rax,12; lea rbx,[rax*8+0x103000]; shl rax,12; or rax,3; mov [rbx],rax;
  // add qword [0xd000],1; pop rbx; pop rax; add rsp,8; iretq
  rig.load(
    0x9000,
    hex(`50 53 0f 20 d0 48 c1 e8 0c 48 8d 1c c5 00 30 10 00 48 c1 e0 0c 48 83 c8 03 48 89 03
      48 83 04 25 00 d0 00 00 01
      5b 58 48 83 c4 08 48 cf`),
  );
  // Gate 14.
  rig.load(0x1000 + 14 * 16, [...le(0x9000 | (8 << 16)), ...le(0x8e00), ...le(0)]);
}

onTiers("page faults are repaired and the instruction is done again, also one that writes twice", 64, (rig) => {
  faultHandler(rig);
  const first = 0x40;
  const pages = 64;
  for (let p = 0; p < pages; p++) rig.mapPage(first + p, 0);
  // Walks with a stride that crosses pages in the middle of 8-byte writes:
  // mov ebx,first<<12; mov ecx,n; L: add [rbx],rcx; add [rbx+5],ecx; xadd [rbx],rdx; add rbx,0x7f; dec ecx; jnz L; hlt
  const n = 2000;
  const program = [
    0xbb,
    ...le(first << 12),
    0xb9,
    ...le(n),
    ...hex("48 01 0b 01 4b 05 48 0f c1 13 48 81 c3 7f 00 00 00 ff c9 75 eb f4"),
  ];
  rig.load(CODE_AT, program);
  const s = rig.run();
  assert.equal(s.end, "halted");
  assert.equal(s.vector, -1);
  // The same in JavaScript.
  const m = new DataView(new ArrayBuffer(pages * 4096 + 64));
  let rdx = 0n;
  let at = 0;
  for (let c = n; c > 0; c--) {
    m.setBigUint64(at, BigInt.asUintN(64, m.getBigUint64(at, true) + BigInt(c)), true);
    m.setUint32(at + 5, m.getUint32(at + 5, true) + c, true);
    const old = m.getBigUint64(at, true);
    m.setBigUint64(at, BigInt.asUintN(64, old + rdx), true);
    rdx = old;
    at += 0x7f;
  }
  assert.equal(s.gpr[2], rdx);
  assert.deepEqual(rig.bytes(first << 12, pages * 4096), new Uint8Array(m.buffer, 0, pages * 4096));
  assert.equal(rig.u32(0xd000), Math.ceil((at - 0x7f + 9) / 4096));
});

onTiers("execution runs into an unmapped page", 64, (rig) => {
  faultHandler(rig);
  rig.mapPage(0x41, 0);
  // At the end of page 0x40 an instruction that lies half in page 0x41: mov eax,0x12345678; hlt
  rig.load(0x40ffe, hex("b8 78 56 34 12 f4"));
  // mov esi,0x40ffe; jmp rsi
  rig.load(CODE_AT, hex("be fe 0f 04 00 ff e6"));
  const s = rig.run();
  assert.equal(s.gpr[EAX], 0x12345678n);
  assert.equal(s.cr2, 0x41000n);
  assert.equal(rig.u32(0xd000), 1);
});

onTiers("addresses that are not canonical fault also as the first of a compiled loop", 64, (rig) => {
  // mov ecx,50; L: mov rax,[rbx]; add rdx,rax; mov [rsi+8],rdx; dec ecx; jnz L; hlt
  rig.load(CODE_AT, hex("b9 32 00 00 00 48 8b 03 48 01 c2 48 89 56 08 ff c9 75 f2 f4"));
  for (const [rbx, rsi, vector] of [
    [BigInt(DATA_AT), BigInt(DATA_AT), -1],
    [1n << 63n, BigInt(DATA_AT), 13],
    [BigInt(DATA_AT), 1n << 63n, 13],
    [1n << 47n, BigInt(DATA_AT), 13],
    [-(1n << 47n) - 8n, BigInt(DATA_AT), 13],
    [-8n, BigInt(DATA_AT), 14],
    [(1n << 47n) - 8n, BigInt(DATA_AT), 14],
  ] as const) {
    rig.resetState();
    rig.setGpr(3, rbx);
    rig.setGpr(6, rsi);
    rig.setGpr(ECX, 50n);
    // Right into the loop.
    rig.set64(L.RIP, BigInt(CODE_AT + 5));
    const s = rig.run();
    assert.equal(s.vector, vector, `rbx ${rbx.toString(16)} rsi ${rsi.toString(16)}`);
    assert.equal(s.gpr[ECX], vector < 0 ? 0n : 50n);
  }
});

onTiers("#DE in a hot loop points at the division", 32, (rig) => {
  // mov ecx,300; L: mov eax,1000; xor edx,edx; sub ecx,1; div ecx; add ebx,eax; jmp L
  rig.load(CODE_AT, hex("b9 2c 01 00 00 b8 e8 03 00 00 31 d2 83 e9 01 f7 f1 01 c3 eb f0"));
  const s = rig.run();
  assert.equal(s.vector, 0);
  let sum = 0;
  for (let c = 299; c > 0; c--) sum += Math.floor(1000 / c);
  assert.equal(s.gpr[3], BigInt(sum));
  assert.equal(s.gpr[ECX], 0n);
  assert.equal(rig.u32(Number(s.gpr[4])), CODE_AT + 0xf);
});

onTiers("one vCPU patches the code another is running", 64, (rig) => {
  // CPU 0: L: add rax,1; jmp L. CPU 1: mov byte [CODE+3], 9; hlt
  rig.load(CODE_AT, hex("48 83 c0 01 eb fa"));
  rig.load(0x9000, [...hex("c6 04 25"), ...le(CODE_AT + 3), ...hex("09 f4")]);
  rig.set64(L.RIP, 0x9000n, 1);
  rig.engine.run(0, 5000);
  assert.equal(rig.engine.run(1, 100), "halted");
  const before = rig.gpr(EAX);
  rig.engine.run(0, 5000);
  const gained = rig.gpr(EAX) - before;
  assert.ok(gained > 0n);
  assert.equal(gained % 9n, 0n);
});

onTiers("vCPUs have their own registers and one memory; locked additions are not lost", 64, (rig) => {
  // mov ecx,1000; L: lock inc dword [DATA]; add rax,rcx; dec ecx; jnz L; hlt
  rig.load(CODE_AT, [...hex("b9 e8 03 00 00 f0 ff 04 25"), ...le(DATA_AT), ...hex("48 01 c8 ff c9 75 f1 f4")]);
  let running = 3;
  for (let turn = 0; running && turn < 10_000; turn++)
    for (const cpu of [0, 1]) if (running & (1 << cpu) && rig.engine.run(cpu, 13 + 7 * cpu) === "halted") running &= ~(1 << cpu);
  assert.equal(running, 0);
  assert.equal(rig.u32(DATA_AT), 2000);
  for (const cpu of [0, 1]) assert.equal(rig.get64(L.GPR, cpu), 500500n);
});

onTiers("single-stepping traps after every instruction of hot code", 64, (rig) => {
  // The #DB handler counts: inc dword [0xd000]; iretq
  rig.load(0x9000, hex("ff 04 25 00 d0 00 00 48 cf"));
  rig.load(0x1000 + 16, [...le(0x9000 | (8 << 16)), ...le(0x8e00), ...le(0)]);
  // mov ecx,100; L: dec ecx; jnz L; pushf; or dword [rsp],0x100; popf; mov ecx,50; M: dec ecx; jnz M; pushf; and dword [rsp],~0x100; popf; hlt
  rig.load(
    CODE_AT,
    hex(`b9 64 00 00 00 ff c9 75 fc 9c 81 0c 24 00 01 00 00 9d
      b9 32 00 00 00 ff c9 75 fc 9c 81 24 24 ff fe ff ff 9d f4`),
  );
  const s = rig.run();
  assert.equal(s.end, "halted");
  assert.equal(s.vector, -1);
  // mov, 50 x 2, pushf, and, popf (whose trap is due by TF before it).
  assert.equal(rig.u32(0xd000), 1 + 100 + 3);
});

test("compiling beside the machine: code that dies meanwhile is not installed", async () => {
  const rig = new ProgramRig({ mode: 64, tier: 1, threshold: 4, background: true });
  rig.load(CODE_AT, loop(1000));
  const reference = new ProgramRig({ mode: 64, tier: 0 });
  reference.load(CODE_AT, loop(1000));
  for (let n = 0; n < 60; n++) {
    const add = n % 5 < 3 ? 0x01 : 0x29;
    for (const r of [rig, reference]) {
      // add or sub, at random moments of the other's compilation.
      r.dma(CODE_AT + 6, [add]);
      r.resetState();
    }
    let insns = 0;
    let r: string;
    do {
      r = rig.engine.run(0, 500);
      insns += rig.engine.lastUsed;
      if (n % 3) await new Promise((resolve) => setImmediate(resolve));
    } while (r === "budget");
    const s = reference.run();
    assert.deepEqual([rig.gpr(EAX), rig.gpr(2), insns], [s.gpr[EAX], s.gpr[2], s.insns], `round ${n}`);
  }
  assert.ok(rig.engine.tier1.stats.regions > 1);
});

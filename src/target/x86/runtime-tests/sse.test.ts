/** SSE and vector helpers against rows captured from a processor and the host's own; MXCSR and FP_FAST. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { GuestFault, loadRuntime } from "../../../../testkit/runtime.js";
import { FP_FAST, HF_OSXMMEXCPT, HFLAGS, MXCSR } from "../layout.js";
import { hostOracle, Random, RECORD } from "./host-oracle.js";
import { readRows, sseFields, sseInput, sseRowRequest } from "./host-rows.js";
import { runSse, SSE_CASES, type SseCase, type SseResult, showSse, sseRequest, sseResult } from "./sse-cases.js";

const runtime = loadRuntime("fp");
const byName = new Map(SSE_CASES.map((c) => [c.name, c]));

test("SSE instructions give what a processor gave", () => {
  const rows = readRows("sse");
  assert.ok(rows.length > 500);
  for (const row of rows) {
    const c = byName.get(row.name) as SseCase;
    const got = sseFields(runSse(runtime, c, sseRowRequest(c, row.before)));
    assert.deepEqual(got, row.after, `${row.name} | ${row.before.join(" ")}`);
  }
});

const oracle = hostOracle();

/** DPPS and DPPD add in an order of the processor's own: which of several NaNs comes out differs between processors. */
function alikeNans(c: SseCase, x: SseResult): SseResult {
  const width = c.name.startsWith("dpps") ? 8 : c.name.startsWith("dppd") ? 16 : 0;
  if (!width) return x;
  const lanes = x.xmm0.match(new RegExp(`.{${width}}`, "g"))!;
  const isNan = (lane: string) => {
    const view = new DataView(Uint8Array.from(lane.match(/../g)!, (b) => Number.parseInt(b, 16)).buffer);
    return Number.isNaN(width === 8 ? view.getFloat32(0, true) : view.getFloat64(0, true));
  };
  return { ...x, xmm0: lanes.map((lane) => (isNan(lane) ? "nan".padEnd(width) : lane)).join("") };
}

test("random SSE operands agree with the host's processor", { skip: !oracle }, () => {
  const each = 30;
  const random = new Random(0x55e55e55);
  const records = new Uint8Array(SSE_CASES.length * each * RECORD);
  SSE_CASES.forEach((c, k) => {
    for (let i = 0; i < each; i++) records.set(sseRequest(c, random), (k * each + i) * RECORD);
  });
  const results = (oracle as (r: Uint8Array) => Uint8Array)(records);
  SSE_CASES.forEach((c, k) => {
    for (let i = 0; i < each; i++) {
      const at = (k * each + i) * RECORD;
      const request = records.subarray(at, at + RECORD);
      const got = showSse(alikeNans(c, runSse(runtime, c, request)));
      const want = showSse(alikeNans(c, sseResult(results.subarray(at, at + RECORD))));
      assert.equal(got, want, `${c.name} | ${sseInput(request).join(" ")}`);
    }
  });
});

const call = (name: string, a = 0n, b = 0n, imm = 0) => runtime.helper(name)(a, b, imm);
const ONE = 0x3ff0000000000000n;
const THREE = 0x4008000000000000n;

test("FP_FAST follows MXCSR", () => {
  const rows: [mxcsr: number, fast: number][] = [
    [0x1f80, 2],
    [0x1fa0, 1],
    [0x1fbf, 1],
    [0x1fe0, 2],
    [0x9fa0, 2],
    [0x3fa0, 2],
    [0x7fa0, 2],
    [0x1f20, 0],
    [0x0fa0, 0],
  ];
  for (const [mxcsr, fast] of rows) {
    call("h_ldmxcsr", BigInt(mxcsr));
    assert.equal(runtime.get32(FP_FAST), fast, mxcsr.toString(16));
    assert.equal(call("h_stmxcsr"), BigInt(mxcsr));
  }
});

test("an inexact slow operation turns FP_FAST on", () => {
  call("h_ldmxcsr", 0x1f80n);
  call("h_sse_f64", ONE, ONE, 8);
  assert.equal(runtime.get32(FP_FAST), 2);
  call("h_sse_f64", ONE, THREE, 14);
  assert.equal(runtime.get32(MXCSR), 0x1fa0);
  assert.equal(runtime.get32(FP_FAST), 1);
});

test("LDMXCSR refuses reserved bits and keeps MXCSR", () => {
  call("h_ldmxcsr", 0x1f80n);
  assert.throws(
    () => call("h_ldmxcsr", 0x10000n),
    (e) => e instanceof GuestFault && e.vector === 13 && e.errorCode === 0,
  );
  assert.equal(runtime.get32(MXCSR), 0x1f80);
});

test("unmasked exceptions: #XM, or #UD without CR4.OSXMMEXCPT", () => {
  for (const [hflags, vector] of [
    [HF_OSXMMEXCPT, 19],
    [0, 6],
  ] as const) {
    runtime.set32(HFLAGS, hflags);
    runtime.set32(MXCSR, 0x1d80);
    assert.throws(
      () => call("h_sse_f64", ONE, 0n, 14),
      (e) => e instanceof GuestFault && e.vector === vector,
    );
    assert.equal(runtime.get32(MXCSR), 0x1d84);
  }
});

const floatBits = new DataView(new ArrayBuffer(4));
const toBits = (x: number) => {
  floatBits.setFloat32(0, x);
  return BigInt(floatBits.getUint32(0));
};
const fromBits = (bits: bigint) => {
  floatBits.setUint32(0, Number(bits));
  return floatBits.getFloat32(0);
};

test("RCPSS and RSQRTSS are within 1.5 * 2^-12", () => {
  const limit = 1.5 * 2 ** -12;
  for (let i = 0; i < 40000; i++) {
    const x = fromBits(BigInt(0x3f000000 + i * 411));
    const rcp = fromBits(call("h_rcp_f32", toBits(x)));
    const rsqrt = fromBits(call("h_rsqrt_f32", toBits(x)));
    assert.ok(Math.abs(rcp * x - 1) <= limit, `rcp ${x}`);
    assert.ok(Math.abs(rsqrt * Math.sqrt(x) - 1) <= limit, `rsqrt ${x}`);
  }
});

test("RCPSS and RSQRTSS of special operands", () => {
  const rows: [x: number, rcp: number, rsqrt: number][] = [
    [0x00000000, 0x7f800000, 0x7f800000],
    [0x80000000, 0xff800000, 0xff800000],
    [0x00000001, 0x7f800000, 0x7f800000],
    [0x807fffff, 0xff800000, 0xff800000],
    [0x7f800000, 0x00000000, 0x00000000],
    [0xff800000, 0x80000000, 0xffc00000],
    [0x7f800001, 0x7fc00001, 0x7fc00001],
    [0x7f000000, 0x00000000, 0x1fb50000],
  ];
  for (const [x, rcp, rsqrt] of rows) {
    assert.equal(call("h_rcp_f32", BigInt(x)), BigInt(rcp), `rcp ${x.toString(16)}`);
    const got = call("h_rsqrt_f32", BigInt(x));
    // The approximation itself differs between processors in its last bits.
    if (x === 0x7f000000) assert.ok(Math.abs(Number(got) - rsqrt) < 0x1000, "rsqrt 2^127");
    else assert.equal(got, BigInt(rsqrt), `rsqrt ${x.toString(16)}`);
  }
});

/** x87 helpers against rows captured from a processor, and against the host's own where there is one. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { loadRuntime } from "../../../../testkit/runtime.js";
import { AT_FLAGS, AT_FLAGS_OUT, hostOracle, Random, RECORD } from "./host-oracle.js";
import { readRows, x87Fields, x87RowRequest } from "./host-rows.js";
import { runX87, sameX87, showX87, X87_CASES, type X87Case, type X87Result, x87Request, x87Result } from "./x87-cases.js";

const runtime = loadRuntime("fp");
const byName = new Map(X87_CASES.map((c) => [c.name, c]));

/** The result a row tells: ST(2).. as far as they are unknown are taken from what came out. */
function expected(fields: string[], got: X87Result): X87Result {
  const value = (text = "") => {
    const [se = "0", sig = "0"] = text.split(":");
    return [BigInt(`0x${sig}`), Number.parseInt(se, 16)] as const;
  };
  const n = (i: number) => Number.parseInt(fields[i] ?? "0", 16);
  return {
    fcw: n(0),
    fsw: n(1),
    tags: n(2),
    flags: n(3),
    memory: fields[4] ?? "",
    st: [value(fields[5]), value(fields[6]), ...got.st.slice(2)],
  };
}

test("x87 instructions give what a processor gave", () => {
  const rows = readRows("x87");
  assert.ok(rows.length > 500);
  for (const row of rows) {
    const c = byName.get(row.name) as X87Case;
    const got = runX87(runtime, c, x87RowRequest(c, row.before));
    const want = expected(row.after, got);
    if (!sameX87(want, got, c.approximate ?? false)) {
      assert.deepEqual(x87Fields(got), row.after, `${row.name} | ${row.before.join(" ")}`);
    }
  }
});

const oracle = hostOracle();
test("random x87 states agree with the host's processor", { skip: !oracle }, () => {
  const each = 60;
  const random = new Random(0x87654321);
  const records = new Uint8Array(X87_CASES.length * each * RECORD);
  X87_CASES.forEach((c, k) => {
    for (let i = 0; i < each; i++) records.set(x87Request(c, random), (k * each + i) * RECORD);
  });
  const results = (oracle as (r: Uint8Array) => Uint8Array)(records);
  X87_CASES.forEach((c, k) => {
    for (let i = 0; i < each; i++) {
      const at = (k * each + i) * RECORD;
      const request = records.subarray(at, at + RECORD);
      const want = x87Result(results.subarray(at, at + RECORD), AT_FLAGS_OUT);
      const got = runX87(runtime, c, request);
      if (!sameX87(want, got, c.approximate ?? false)) {
        assert.equal(showX87(got), showX87(want), `${c.name} from ${showX87(x87Result(request, AT_FLAGS))}`);
      }
    }
  });
});

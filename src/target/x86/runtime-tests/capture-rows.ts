/**
 * Captures rows-x87.txt and rows-sse.txt from this host's processor:
 *   node --import tsx src/target/x86/runtime-tests/capture-rows.ts
 */
import { writeFileSync } from "node:fs";
import { AT_FLAGS, AT_FLAGS_OUT, hostOracle, Random } from "./host-oracle.js";
import { rowsFile, sseFields, sseInput, x87Fields, x87RowRequest } from "./host-rows.js";
import { SSE_CASES, sseRequest, sseResult } from "./sse-cases.js";
import { X87_CASES, x87Request, x87Result } from "./x87-cases.js";

const oracle = hostOracle();
if (!oracle) throw new Error("needs an x86-64 Linux host with gcc");
const random = new Random(20240607);

const x87: string[] = [];
for (const c of X87_CASES) {
  if (/st[25]/.test(c.name)) continue;
  for (let i = 0; i < 4; i++) {
    const before = x87Fields(x87Result(x87Request(c, random), AT_FLAGS));
    const after = x87Fields(x87Result(oracle(x87RowRequest(c, before)), AT_FLAGS_OUT));
    x87.push(`${c.name} | ${before.join(" ")} -> ${after.join(" ")}`);
  }
}
writeFileSync(rowsFile("x87"), `${x87.join("\n")}\n`);

const sse: string[] = [];
for (const c of SSE_CASES) {
  const rows = c.kind === "text" ? 1 : 3;
  if (c.kind === "text" && random.below(5) !== 0) continue;
  for (let i = 0; i < rows; i++) {
    const request = sseRequest(c, random);
    sse.push(`${c.name} | ${sseInput(request).join(" ")} -> ${sseFields(sseResult(oracle(request))).join(" ")}`);
  }
}
writeFileSync(rowsFile("sse"), `${sse.join("\n")}\n`);

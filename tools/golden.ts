/**
 * npm run golden: compares the golden translations in src/accel/tcg/golden with what the translator makes; `-- --update`
 * writes them.
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { GOLDEN } from "../src/accel/tcg/golden/cases.js";
import { goldenFile } from "../testkit/golden.js";

const FOLDER = fileURLToPath(new URL("../src/accel/tcg/golden/", import.meta.url));
const update = process.argv.includes("--update");
/** Costs by case: the sum is the one number to watch. */
const cost = (text: string) => [...text.matchAll(/(\d+) WebAssembly instructions/g)].reduce((sum, m) => sum + Number(m[1]), 0);

for (const [name, cases] of Object.entries(GOLDEN)) {
  const file = `${FOLDER}${name}.golden.txt`;
  const text = goldenFile(name, cases);
  let old = "";
  try {
    old = readFileSync(file, "utf8");
  } catch {
    // New.
  }
  if (old === text) {
    console.log(`${name}: ${cost(text)} WebAssembly instructions`);
    continue;
  }
  console.log(`${name}: ${cost(old)} -> ${cost(text)} WebAssembly instructions${update ? "" : "; npm run golden -- --update"}`);
  if (update) writeFileSync(file, text);
  else process.exitCode = 1;
}

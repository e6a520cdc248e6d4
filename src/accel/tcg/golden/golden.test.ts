import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { goldenFile } from "../../../../testkit/golden.js";
import { GOLDEN } from "./cases.js";

for (const [name, cases] of Object.entries(GOLDEN))
  test(`golden translations: ${name} (npm run golden -- --update)`, () =>
    assert.equal(goldenFile(name, cases), readFileSync(new URL(`./${name}.golden.txt`, import.meta.url), "utf8")));

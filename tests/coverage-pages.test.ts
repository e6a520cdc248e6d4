import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { TANDEM_VERSION } from "../src/base/version.js";
import { stalePages } from "../tools/coverage-pages.js";

test("docs/coverage is what the tables say (npm run coverage-pages)", () => {
  assert.deepEqual(stalePages(), []);
});

test("the version is the package's", () => {
  const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  assert.equal(TANDEM_VERSION, version);
});

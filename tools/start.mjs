#!/usr/bin/env node
// npm start: installs and builds what is missing or old, then boots the embedded guest to a shell (tandem run).
import { install } from "./install.mjs";
import { isStale } from "./stamp.mjs";

install();
if (isStale()) {
  process.stderr.write("building\n");
  process.argv.push("--quiet");
  const { build } = await import("./build.mjs");
  try {
    await build();
  } catch (error) {
    process.stderr.write(`${error.message}\n`);
    process.exit(1);
  }
  process.argv.pop();
}
const { main } = await import(new URL("../dist/bin/main.js", import.meta.url).href);
await main("tandem", ["run", ...process.argv.slice(2)]);

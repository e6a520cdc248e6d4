import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { debianTest } from "../../../testkit/debian.js";
import { flatten } from "./flatten.js";
import { parseFdt } from "./parse.js";
import { cells64, FdtNode } from "./tree.js";

function sample(): FdtNode {
  const root = new FdtNode("");
  root.setAll({ "#address-cells": 2, "#size-cells": 2, compatible: ["qemu,pseries", "linux,dummy"], empty: true });
  const cpu = root.child("cpus").set("#address-cells", 1).child("PowerPC,POWER9@0");
  cpu
    .set("reg", 0)
    .set("ibm,pft-size", [0, 22])
    .set("raw", Uint8Array.of(1, 2, 3));
  root.child("memory@0").set("reg", [...cells64(0), ...cells64(2 ** 33)]);
  return root;
}

const values: readonly { path: string; name: string; bytes: number[] }[] = [
  { path: "/", name: "#address-cells", bytes: [0, 0, 0, 2] },
  { path: "/", name: "compatible", bytes: [...Buffer.from("qemu,pseries\0linux,dummy\0")] },
  { path: "/", name: "empty", bytes: [] },
  { path: "/cpus/PowerPC,POWER9@0", name: "ibm,pft-size", bytes: [0, 0, 0, 0, 0, 0, 0, 22] },
  { path: "/cpus/PowerPC,POWER9@0", name: "raw", bytes: [1, 2, 3] },
  { path: "/memory@0", name: "reg", bytes: [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0] },
];

test("a tree comes back from its flattened form", () => {
  const back = parseFdt(flatten(sample()));
  for (const { path, name, bytes } of values)
    assert.deepEqual([...(back.find(path)?.properties.get(name) ?? [-1])], bytes, `${path} ${name}`);
  assert.deepEqual(
    back.children.map((c) => c.name),
    ["cpus", "memory@0"],
  );
});

debianTest("the device tree compiler reads it", [{ package: "device-tree-compiler", path: "/usr/bin/dtc" }], () => {
  const dir = mkdtempSync(join(tmpdir(), "tandem-fdt-"));
  try {
    const file = join(dir, "t.dtb");
    writeFileSync(file, flatten(sample(), { reserved: [{ address: 0x1000000, size: 0x2000 }], bootCpu: 1 }));
    const text = execFileSync("dtc", ["-q", "-I", "dtb", "-O", "dts", file], { encoding: "utf8" });
    assert.match(text, /\/memreserve\/\s+0x0*1000000 0x0*2000;/);
    assert.match(text, /compatible = "qemu,pseries", "linux,dummy"|compatible = "qemu,pseries\\0linux,dummy"/);
    assert.match(text, /PowerPC,POWER9@0 \{/);
    // And the other way round: what dtc writes is read here.
    execFileSync("dtc", ["-q", "-I", "dtb", "-O", "dtb", "-o", join(dir, "u.dtb"), file]);
    assert.equal(parseFdt(readFileSync(join(dir, "u.dtb"))).text("compatible"), "qemu,pseries");
  } finally {
    rmSync(dir, { recursive: true });
  }
});

test("a tree that does not fit is refused", () => {
  assert.throws(() => flatten(sample(), { limitBytes: 64 }), /the device tree has \d+ bytes, there is room for 64/);
});

test("truncated and hostile trees are refused, never followed", () => {
  const good = flatten(sample());
  for (let n = 0; n < good.length - 8; n += 3) assert.throws(() => parseFdt(good.subarray(0, n)), /device tree/, `cut at ${n}`);
  for (let at = 0; at < good.length; at++)
    for (const value of [0, 0xff, 0x7f]) {
      const bytes = good.slice();
      bytes[at] = value;
      try {
        parseFdt(bytes);
      } catch (e) {
        assert.match((e as Error).message, /device tree/, `byte ${at} = ${value}`);
      }
    }
});

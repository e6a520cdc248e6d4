import assert from "node:assert/strict";
import { test } from "node:test";
import { VmError } from "../base/errors.js";
import type { DeviceType, PropertyKind } from "../hw/core/device-type.js";
import { findDeviceType, type PropertyValue, propertyHelp, readProperties, readProperty } from "./device-properties.js";

/** Rows: kind, text, and the value; undefined = refused. */
const rows: [PropertyKind, string, PropertyValue | undefined][] = [
  ["bool", "on", true],
  ["bool", "no", false],
  ["bool", "1", undefined],
  ["on-off-auto", "auto", "auto"],
  ["on-off-auto", "yes", undefined],
  ["uint8", "255", 255],
  ["uint8", "256", undefined],
  ["uint16", "0xffff", 65535],
  ["uint32", "-1", undefined],
  ["uint32", "4294967295", 4294967295],
  ["uint32", "1K", undefined],
  ["uint64", "0xffffffffffffffff", 0xffff_ffff_ffff_ffffn],
  ["uint64", "18446744073709551616", undefined],
  ["size", "4K", 4096],
  ["size", "16E", undefined],
  ["size", "", undefined],
  ["macaddr", "52:54:00:12:34:5A", "52:54:00:12:34:5a"],
  ["macaddr", "52-54-00-12-34-56", "52:54:00:12:34:56"],
  ["macaddr", "52:54:00:12:34", undefined],
  ["pci-address", "05", "05"],
  ["pci-address", "1f.7", "1f.7"],
  ["pci-address", "0x4", "0x4"],
  ["pci-address", "20", undefined],
  ["pci-address", "1.8", undefined],
  ["str", "anything, at all", "anything, at all"],
];

test("values by kind", () => {
  for (const [type, text, value] of rows) {
    const read = () => readProperty({ name: "p", type, default: undefined, description: "" }, text, "-device x");
    if (value === undefined)
      assert.throws(
        read,
        (e) => e instanceof VmError && e.code === "device/invalid-property" && e.message.startsWith("-device x: "),
        `${type} ${text}`,
      );
    else assert.equal(read(), value, `${type} ${text}`);
  }
});

const type: DeviceType = {
  name: "dev",
  aliases: ["alias"],
  bus: "pci",
  category: "misc",
  description: "",
  properties: [
    { name: "a", type: "uint8", default: 1, description: "first" },
    { name: "b", type: "bool", default: false, description: "second" },
  ],
};

test("defaults, then -global, then the device's own", () => {
  const g = (driver: string, property: string, value: string) => ({ driver, property, value, origin: "-global x" });
  const read = (props: { [n: string]: string }, ...globals: ReturnType<typeof g>[]) => {
    const { a, b, addr } = readProperties(type, { props, origin: "-device dev" }, globals);
    return [a, b, addr];
  };
  assert.deepEqual(read({}), [1, false, undefined]);
  assert.deepEqual(read({ a: "2", addr: "3" }), [2, false, "3"]);
  assert.deepEqual(read({ a: "2" }, g("alias", "a", "9"), g("dev", "b", "on"), g("other", "zzz", "1")), [2, true, undefined]);
  assert.throws(() => read({ zzz: "1" }), /^VmError: -device dev: Property 'dev\.zzz' not found$/);
  assert.throws(() => read({}, g("dev", "zzz", "1")), /^VmError: -global x: Property 'dev\.zzz' not found$/);
  assert.throws(() => read({ __proto__x: "1" }), /not found/);
  assert.equal(findDeviceType([type], "alias"), type);
  assert.equal(findDeviceType([type], "constructor"), undefined);
  assert.match(propertyHelp(type), /^dev options:\n {2}a=<uint8> +- first \(default: 1\)\n/);
});

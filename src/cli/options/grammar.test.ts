import assert from "node:assert/strict";
import { test } from "node:test";
import { parseNumber, parseObject, parseSize, parseSwitch, splitList, toMap, toProperties } from "./grammar.js";

const lists: [text: string, implied: string | undefined, expected: [string, string][]][] = [
  ["", undefined, []],
  [
    "a=b,c=d",
    undefined,
    [
      ["a", "b"],
      ["c", "d"],
    ],
  ],
  [
    "a=b,,c,d=e",
    undefined,
    [
      ["a", "b,c"],
      ["d", "e"],
    ],
  ],
  ["a=,,", undefined, [["a", ","]]],
  [
    "a=,b=1",
    undefined,
    [
      ["a", ""],
      ["b", "1"],
    ],
  ],
  [
    "foo,nobar",
    undefined,
    [
      ["foo", "on"],
      ["bar", "off"],
    ],
  ],
  ["no-acpi", undefined, [["acpi", "off"]]],
  [
    "pc,accel=tcg",
    "type",
    [
      ["type", "pc"],
      ["accel", "tcg"],
    ],
  ],
  [
    "file,,name,ro",
    "path",
    [
      ["path", "file,name"],
      ["ro", "on"],
    ],
  ],
  [
    "x=1,pc",
    "type",
    [
      ["x", "1"],
      ["pc", "on"],
    ],
  ],
  ["help", "driver", [["driver", "help"]]],
  [
    "e1000,help",
    "driver",
    [
      ["driver", "e1000"],
      ["help", "on"],
    ],
  ],
  [
    "/tmp/s,server,nowait",
    "path",
    [
      ["path", "/tmp/s"],
      ["server", "on"],
      ["wait", "off"],
    ],
  ],
  ["nodelay", undefined, [["nodelay", "on"]]],
  ["a=b=c", undefined, [["a", "b=c"]]],
  ["a=1,", undefined, [["a", "1"]]],
];

test("lists", () => {
  for (const [text, implied, expected] of lists)
    assert.deepEqual(
      splitList(text, implied).map((p) => [p.name, p.value]),
      expected,
      text,
    );
});

const sizes: [text: string, suffix: "B" | "M", expected: number | undefined][] = [
  ["512", "M", 512 * 2 ** 20],
  ["512", "B", 512],
  ["1k", "B", 1024],
  ["1K", "M", 1024],
  ["1.5G", "M", 1.5 * 2 ** 30],
  [".5G", "M", 2 ** 29],
  ["2T", "B", 2 ** 41],
  ["0x1000", "B", 4096],
  ["1.5", "B", undefined],
  ["-1", "M", undefined],
  ["1e3", "B", undefined],
  ["1kB", "B", undefined],
  ["", "B", undefined],
  ["G", "B", undefined],
  ["99999999999999999999", "B", undefined],
  ["9000P", "B", undefined],
];

test("sizes", () => {
  for (const [text, suffix, expected] of sizes) assert.equal(parseSize(text, suffix), expected, text);
});

test("numbers", () => {
  const rows: [string, number | undefined][] = [
    ["0", 0],
    ["10", 10],
    ["0x10", 16],
    ["010", 8],
    ["08", 8],
    ["1a", undefined],
    ["", undefined],
    ["-1", undefined],
    ["18446744073709551616", undefined],
  ];
  for (const [text, expected] of rows) assert.equal(parseNumber(text), expected, text);
});

test("switches", () => {
  for (const w of ["on", "yes", "true", "y"]) assert.equal(parseSwitch(w), true, w);
  for (const w of ["off", "no", "false", "n"]) assert.equal(parseSwitch(w), false, w);
  for (const w of ["", "ON", "1", "maybe"]) assert.equal(parseSwitch(w), undefined, w);
});

test("JSON objects", () => {
  const rows: [string, [string, string][]][] = [
    [
      '{"driver":"VGA","id":"v","xres":800,"edid":true}',
      [
        ["driver", "VGA"],
        ["id", "v"],
        ["xres", "800"],
        ["edid", "on"],
      ],
    ],
    [
      '{"a":{"b":1,"c":["x",false]}}',
      [
        ["a.b", "1"],
        ["a.c.0", "x"],
        ["a.c.1", "off"],
      ],
    ],
    ["{}", []],
  ];
  for (const [text, expected] of rows) assert.deepEqual([...parseObject(text, "driver", "-device")], expected, text);
  for (const text of ["{", '{"a":null}', `{"a":${"[".repeat(20)}1${"]".repeat(20)}}`, `{"a":"${"x".repeat(70000)}"}`, '{"a":1}x'])
    assert.throws(() => parseObject(text, "driver", "-device x"), /^VmError: -device x: /, text.slice(0, 40));
});

test("__proto__ is a name like any other", () => {
  for (const text of ["__proto__=1", '{"__proto__":"1"}']) {
    const props = toProperties(parseObject(text, "driver", "-device"));
    assert.deepEqual(Object.entries(props), [["__proto__", "1"]], text);
  }
  assert.equal(toMap(splitList("a=1,a=2")).get("a"), "2");
});

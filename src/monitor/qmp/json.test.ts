import assert from "node:assert/strict";
import { test } from "node:test";
import { type JsonMessage, JsonStream, MESSAGE_LIMIT, NESTING_LIMIT, parseJson, writeJson } from "./json.js";

const plain = (v: unknown): unknown => JSON.parse(writeJson(v));

/** Rows: text, and what it means as JSON; undefined = an error. */
const texts: [text: string, value: unknown][] = [
  ['{"a":[1,2.5,-3e2,true,false,null,"x"]}', { a: [1, 2.5, -300, true, false, null, "x"] }],
  ["{'execute':'x'}", { execute: "x" }],
  [" [ ] ", []],
  ["{}", {}],
  ['"\\u0041\\n\\/\\\\\\""', 'A\n/\\"'],
  ["{'a':1,'a':2}", undefined],
  ["{'a' 1}", undefined],
  ["{a:1}", undefined],
  ["[1,]", undefined],
  ["[1 2]", undefined],
  ["01", undefined],
  ["1.", undefined],
  ["nul", undefined],
  ["'\\x'", undefined],
  ["'\\u12'", undefined],
  ["'a\nb'", undefined],
  ["'a", undefined],
  ["{} {}", undefined],
  ["", undefined],
];

test("JSON texts", () => {
  for (const [text, value] of texts) {
    if (value === undefined) assert.throws(() => parseJson(text), /JSON parse error/, text);
    else assert.deepEqual(plain(parseJson(text)), value, text);
  }
});

test("64-bit integers and hostile keys survive", () => {
  const v = parseJson('{"big":18446744073709551615,"neg":-9223372036854775808,"__proto__":{"x":1},"constructor":2}');
  assert.equal(
    writeJson(v),
    '{"big": 18446744073709551615, "neg": -9223372036854775808, "__proto__": {"x": 1}, "constructor": 2}',
  );
  assert.equal(({} as { x?: number }).x, undefined);
});

test("every truncation of a text is an error, no crash", () => {
  const text = '{"execute":"qom-get","arguments":{"path":"/machine","n":[1,2,{"a":"\\u00e9"}]},"id":-12}';
  for (let i = 0; i < text.length; i++) assert.throws(() => parseJson(text.slice(0, i)), /JSON parse error/, text.slice(0, i));
});

const bytes = (text: string) => new TextEncoder().encode(text);
const show = (m: JsonMessage) => ("error" in m ? "error" : writeJson(m.value));

/** Rows: what comes in, and the messages found. */
const streams: [input: Uint8Array, found: string[]][] = [
  [bytes("{}{}\r\n[1]"), ["{}", "{}", "[1]"]],
  [bytes('{"a":"}{"}'), ['{"a": "}{"}']],
  [bytes('{"a":"\\"}"}'), ['{"a": "\\"}"}']],
  [bytes("x y z\n{}"), ["error", "{}"]],
  [bytes("]\n{}"), ["error", "{}"]],
  [bytes("{]}}}}\n{}"), ["error", "{}"]],
  [bytes('{"a":"\n{}'), ["error", "{}"]],
  [bytes("12\n"), ["12"]],
  [Uint8Array.of(0x7b, 0x22, 0xff, 0xfe, 0x22, 0x3a, 0x31, 0x7d, 10, 0x7b, 0x7d), ["error", "{}"]],
  [bytes(`${"[".repeat(100_000)}\n{}`), ["error", "{}"]],
  [
    bytes(`${"[".repeat(NESTING_LIMIT)}${"]".repeat(NESTING_LIMIT)}`),
    [`${"[".repeat(NESTING_LIMIT)}${"]".repeat(NESTING_LIMIT)}`],
  ],
  [bytes(`{"a":"${"x".repeat(2 * MESSAGE_LIMIT)}"}\n{}`), ["error", "{}"]],
];

test("byte streams are cut into messages, whole and byte by byte", () => {
  for (const [input, found] of streams) {
    const name = new TextDecoder().decode(input.subarray(0, 40));
    assert.deepEqual(new JsonStream().push(input).map(show), found, name);
    if (input.length > 200_000) continue;
    const stream = new JsonStream();
    assert.deepEqual([...input].flatMap((b) => stream.push(Uint8Array.of(b))).map(show), found, name);
  }
});

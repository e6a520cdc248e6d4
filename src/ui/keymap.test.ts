import assert from "node:assert/strict";
import { test } from "node:test";
import { KEY_NAMES, parseSendkey, typeText } from "./keymap.js";

test("sendkey", () => {
  const rows: readonly (readonly [string, string[]])[] = [
    ["a", ["a"]],
    ["ctrl-alt-f1", ["ctrl", "alt", "f1"]],
    ["ctrl-alt-delete", ["ctrl", "alt", "delete"]],
    ["shift-<", ["shift", "less"]],
    ["0x1c", ["0x1c"]],
    ["alt-0x3b", ["alt", "0x3b"]],
  ];
  for (const [spec, names] of rows) assert.deepEqual(parseSendkey(spec), names, spec);
  for (const bad of ["", "-", "a-", "enter", "ctrl--a", "__proto__", "0x", "0x12345", Array(17).fill("a").join("-")])
    assert.throws(() => parseSendkey(bad), { code: "monitor/bad-command" }, bad);
});

test("typing on a US keyboard", () => {
  const rows: readonly (readonly [string, string])[] = [
    ["a", "a"],
    ["A1!", "shift+a 1 shift+1"],
    ["uname -m\n", "u n a m e spc minus m ret"],
    ['~|"?', "shift+grave_accent shift+backslash shift+apostrophe shift+slash"],
    ["\x03\x1a", "ctrl+c ctrl+z"],
    ["\t\b", "tab backspace"],
    ["é€", ""],
  ];
  for (const [text, keys] of rows)
    assert.equal(
      typeText(text)
        .map((c) => c.join("+"))
        .join(" "),
      keys,
      text,
    );
  const names = new Set(KEY_NAMES);
  for (let c = 32; c < 127; c++)
    for (const chord of typeText(String.fromCharCode(c))) for (const k of chord) assert.ok(names.has(k), `${c}: ${k}`);
  for (let c = 32; c < 127; c++) assert.equal(typeText(String.fromCharCode(c)).length, 1, String.fromCharCode(c));
});

/**
 * Keys by QEMU's names: the `sendkey` syntax, and typing text on a US keyboard. Scan codes are the keyboard's business.
 * Source: QEMU monitor documentation, `sendkey`; ISO/IEC 9995 US layout.
 */
import { VmError } from "../base/errors.js";

/** Names of keys without a letter or digit, in the order of the keyboard. */
const OTHER_KEYS =
  "shift shift_r alt alt_r ctrl ctrl_r menu esc minus equal backspace tab bracket_left bracket_right ret semicolon " +
  "apostrophe grave_accent backslash comma dot slash asterisk spc caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12 " +
  "num_lock scroll_lock kp_divide kp_multiply kp_subtract kp_add kp_enter kp_decimal kp_comma kp_equals kp_0 kp_1 kp_2 " +
  "kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 sysrq less print home pgup pgdn end left up down right insert delete stop again " +
  "props undo front copy open paste find cut lf help meta_l meta_r compose pause ro hiragana henkan yen muhenkan " +
  "katakanahiragana power sleep wake audionext audioprev audiostop audioplay audiomute volumeup volumedown mediaselect " +
  "mail calculator computer ac_home ac_back ac_forward ac_refresh ac_bookmarks";

/** All key names. */
export const KEY_NAMES: readonly string[] = [..."1234567890qwertyuiopasdfghjklzxcvbnm", ...OTHER_KEYS.split(" ")];
const KNOWN = new Set(KEY_NAMES);

/** How long keys stay down unless told. */
export const DEFAULT_HOLD_MS = 100;
/** Keys of one chord at most, as in QEMU. */
const MAX_CHORD = 16;

/** A scan code of set 1 written as a number, e.g. `0x1c`. */
const NUMBER = /^0x[0-9a-f]{1,3}$/i;

/**
 * Reads `ctrl-alt-f1`: names joined by minus signs, `<` for `less`, numbers as they are.
 * @throws VmError "monitor/bad-command"
 */
export function parseSendkey(spec: string): string[] {
  const names = spec.split("-").map((n) => (n === "<" ? "less" : n));
  if (names.length > MAX_CHORD) throw new VmError("monitor/bad-command", `sendkey: more than ${MAX_CHORD} keys`);
  for (const name of names)
    if (!KNOWN.has(name) && !NUMBER.test(name)) throw new VmError("monitor/bad-command", `sendkey: unknown key: '${name}'`);
  return names;
}

/** Characters that need no shift, then those that do, by key name. */
const PLAIN: readonly (readonly [string, string])[] = [
  ["-", "minus"],
  ["=", "equal"],
  ["\b", "backspace"],
  ["\x7f", "backspace"],
  ["\t", "tab"],
  ["[", "bracket_left"],
  ["]", "bracket_right"],
  ["\n", "ret"],
  ["\r", "ret"],
  [";", "semicolon"],
  ["'", "apostrophe"],
  ["`", "grave_accent"],
  ["\\", "backslash"],
  [",", "comma"],
  [".", "dot"],
  ["/", "slash"],
  [" ", "spc"],
  ["\x1b", "esc"],
];
const SHIFTED: readonly (readonly [string, string])[] = [
  ..."!@#$%^&*()".split("").map((c, i) => [c, "1234567890"[i]!] as const),
  ["_", "minus"],
  ["+", "equal"],
  ["{", "bracket_left"],
  ["}", "bracket_right"],
  [":", "semicolon"],
  ['"', "apostrophe"],
  ["~", "grave_accent"],
  ["|", "backslash"],
  ["<", "comma"],
  [">", "dot"],
  ["?", "slash"],
];
const CHORDS = new Map<string, readonly string[]>();
for (const c of "abcdefghijklmnopqrstuvwxyz") {
  CHORDS.set(c, [c]);
  CHORDS.set(c.toUpperCase(), ["shift", c]);
  // Control characters a to z; those with a key of their own are set below.
  CHORDS.set(String.fromCharCode(c.charCodeAt(0) - 96), ["ctrl", c]);
}
for (const c of "0123456789") CHORDS.set(c, [c]);
for (const [c, key] of PLAIN) CHORDS.set(c, [key]);
for (const [c, key] of SHIFTED) CHORDS.set(c, ["shift", key]);

/** The chords that type `text` on a US keyboard; characters it does not have are left out. */
export function typeText(text: string): (readonly string[])[] {
  return [...text].flatMap((c) => {
    const chord = CHORDS.get(c);
    return chord ? [chord] : [];
  });
}

/**
 * X keysyms, which RFB's key events carry, as the keys of a US keyboard by their qcodes. Characters that need shift come
 * with the client's own shift events. Source: RFC 6143 7.5.4; X11 protocol, appendix A.
 */

/** Keysyms of keys without a character. */
const SPECIAL: readonly (readonly [keysym: number, qcode: string])[] = [
  [0xff08, "backspace"],
  [0xff09, "tab"],
  [0xfe20, "tab"],
  [0xff0d, "ret"],
  [0xff13, "pause"],
  [0xff6b, "pause"],
  [0xff14, "scroll_lock"],
  [0xff15, "sysrq"],
  [0xff61, "print"],
  [0xff1b, "esc"],
  [0xff50, "home"],
  [0xff51, "left"],
  [0xff52, "up"],
  [0xff53, "right"],
  [0xff54, "down"],
  [0xff55, "pgup"],
  [0xff56, "pgdn"],
  [0xff57, "end"],
  [0xff63, "insert"],
  [0xff67, "compose"],
  [0xff7f, "num_lock"],
  [0xffff, "delete"],
  [0xffe1, "shift"],
  [0xffe2, "shift_r"],
  [0xffe3, "ctrl"],
  [0xffe4, "ctrl_r"],
  [0xffe5, "caps_lock"],
  [0xffe7, "meta_l"],
  [0xffe8, "meta_r"],
  [0xffe9, "alt"],
  [0xffea, "alt_r"],
  [0xfe03, "alt_r"],
  [0xff7e, "alt_r"],
  [0xffeb, "meta_l"],
  [0xffec, "meta_r"],
  [0xff8d, "kp_enter"],
  [0xffaa, "kp_multiply"],
  [0xffab, "kp_add"],
  [0xffad, "kp_subtract"],
  [0xffae, "kp_decimal"],
  [0xff9f, "kp_decimal"],
  [0xffaf, "kp_divide"],
  // The keypad without number lock.
  [0xff95, "kp_7"],
  [0xff96, "kp_4"],
  [0xff97, "kp_8"],
  [0xff98, "kp_6"],
  [0xff99, "kp_2"],
  [0xff9a, "kp_9"],
  [0xff9b, "kp_3"],
  [0xff9c, "kp_1"],
  [0xff9d, "kp_5"],
  [0xff9e, "kp_0"],
  ...Array.from({ length: 10 }, (_, n) => [0xffb0 + n, `kp_${n}`] as const),
  ...Array.from({ length: 12 }, (_, n) => [0xffbe + n, `f${n + 1}`] as const),
];

/** Characters of a US keyboard, each with the one of its shift level. */
const CHARACTERS: readonly (readonly [plain: string, shifted: string, qcode: string])[] = [
  ["`", "~", "grave_accent"],
  ["1", "!", "1"],
  ["2", "@", "2"],
  ["3", "#", "3"],
  ["4", "$", "4"],
  ["5", "%", "5"],
  ["6", "^", "6"],
  ["7", "&", "7"],
  ["8", "*", "8"],
  ["9", "(", "9"],
  ["0", ")", "0"],
  ["-", "_", "minus"],
  ["=", "+", "equal"],
  ["[", "{", "bracket_left"],
  ["]", "}", "bracket_right"],
  ["\\", "|", "backslash"],
  [";", ":", "semicolon"],
  ["'", '"', "apostrophe"],
  [",", "<", "comma"],
  [".", ">", "dot"],
  ["/", "?", "slash"],
  [" ", " ", "spc"],
  ...[..."abcdefghijklmnopqrstuvwxyz"].map((c) => [c, c.toUpperCase(), c] as const),
];

const QCODES = new Map<number, string>([
  ...SPECIAL,
  ...CHARACTERS.flatMap(([plain, shifted, qcode]) => [plain, shifted].map((c) => [c.charCodeAt(0), qcode] as const)),
]);

/** The key of a keysym; undefined when a US keyboard has none. */
export function qcodeOfKeysym(keysym: number): string | undefined {
  return QCODES.get(keysym);
}

/** Keys of the browser as QEMU's names. Source: W3C UI Events KeyboardEvent code Values, section 3. */

const NAMED: Readonly<Record<string, string>> = {
  ShiftLeft: "shift",
  ShiftRight: "shift_r",
  AltLeft: "alt",
  AltRight: "alt_r",
  ControlLeft: "ctrl",
  ControlRight: "ctrl_r",
  MetaLeft: "meta_l",
  MetaRight: "meta_r",
  ContextMenu: "menu",
  Escape: "esc",
  Minus: "minus",
  Equal: "equal",
  Backspace: "backspace",
  Tab: "tab",
  BracketLeft: "bracket_left",
  BracketRight: "bracket_right",
  Enter: "ret",
  Semicolon: "semicolon",
  Quote: "apostrophe",
  Backquote: "grave_accent",
  Backslash: "backslash",
  Comma: "comma",
  Period: "dot",
  Slash: "slash",
  Space: "spc",
  CapsLock: "caps_lock",
  NumLock: "num_lock",
  ScrollLock: "scroll_lock",
  NumpadDivide: "kp_divide",
  NumpadMultiply: "kp_multiply",
  NumpadSubtract: "kp_subtract",
  NumpadAdd: "kp_add",
  NumpadEnter: "kp_enter",
  NumpadDecimal: "kp_decimal",
  PrintScreen: "print",
  Pause: "pause",
  IntlBackslash: "less",
  Home: "home",
  End: "end",
  PageUp: "pgup",
  PageDown: "pgdn",
  ArrowLeft: "left",
  ArrowRight: "right",
  ArrowUp: "up",
  ArrowDown: "down",
  Insert: "insert",
  Delete: "delete",
};

/** The name of the key with this `KeyboardEvent.code`, or undefined. */
export function keyName(code: string): string | undefined {
  if (Object.hasOwn(NAMED, code)) return NAMED[code];
  const [, letter] = /^Key([A-Z])$/.exec(code) ?? [];
  if (letter) return letter.toLowerCase();
  const [, digit] = /^Digit([0-9])$/.exec(code) ?? [];
  if (digit) return digit;
  const [, pad] = /^Numpad([0-9])$/.exec(code) ?? [];
  if (pad) return `kp_${pad}`;
  return /^F([1-9]|1[0-2])$/.test(code) ? code.toLowerCase() : undefined;
}

/** Keys that change what others mean. */
export function isModifier(name: string): boolean {
  return /^(shift|alt|ctrl|meta)(_[lr])?$/.test(name);
}

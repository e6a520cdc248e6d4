/** Keys by qcode with their usage on the keyboard page. Source: HID Usage Tables 1.12, chapter 10. */

const range = (first: number, names: string) => names.split(" ").map((n, i) => [n, first + i] as const);

export const HID_USAGES: ReadonlyMap<string, number> = new Map([
  ...range(0x04, "a b c d e f g h i j k l m n o p q r s t u v w x y z 1 2 3 4 5 6 7 8 9 0"),
  ...range(0x28, "ret esc backspace tab spc minus equal bracket_left bracket_right backslash"),
  ...range(0x33, "semicolon apostrophe grave_accent comma dot slash caps_lock f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12"),
  ...range(0x46, "print scroll_lock pause insert home pgup delete end pgdn right left down up num_lock"),
  ...range(
    0x54,
    "kp_divide kp_multiply kp_subtract kp_add kp_enter kp_1 kp_2 kp_3 kp_4 kp_5 kp_6 kp_7 kp_8 kp_9 kp_0 kp_decimal",
  ),
  ...range(0x64, "less compose power kp_equals"),
  ...range(0xe0, "ctrl shift alt meta_l ctrl_r shift_r alt_r meta_r"),
]);

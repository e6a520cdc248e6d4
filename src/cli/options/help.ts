/** The text of `-help` and `-version`, from the option table. */
import { VERSION_LINE } from "../../base/version.js";
import type { OptionSpec } from "./draft.js";
import { OPTION_GROUPS } from "./table.js";

export function versionText(): string {
  return `${VERSION_LINE}\nTandem is a work of its own that follows QEMU's machine and command line.\n`;
}

const COLUMN = 16;

function optionHelp(option: OptionSpec): string {
  const left = option.names
    .map((n) => `-${n}`)
    .join(" or ")
    .concat(option.argument === undefined ? "" : ` ${option.argument}`);
  const indent = " ".repeat(COLUMN);
  const [first, ...rest] = option.help;
  const head = left.length < COLUMN ? `${left.padEnd(COLUMN)}${first}\n` : `${left}\n${indent}${first}\n`;
  return head + rest.map((line) => `${indent}${line}\n`).join("");
}

export function helpText(program: string): string {
  let out = `${VERSION_LINE}\nusage: ${program} [options] [disk_image]\n\n'disk_image' is a raw hard disk image for IDE hard disk 0\n`;
  for (const group of OPTION_GROUPS) out += `\n${group.heading}:\n${group.options.map(optionHelp).join("")}`;
  out += `
During emulation with -nographic or mon:stdio, the following keys are useful:
ctrl-a h        print this help
ctrl-a x        exit emulator
ctrl-a s        save disk data back to the files
ctrl-a t        toggle console timestamps
ctrl-a b        send break
ctrl-a c        switch between console and monitor
ctrl-a ctrl-a   send ctrl-a
`;
  return out;
}

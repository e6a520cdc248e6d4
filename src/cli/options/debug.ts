/** -d, -D, -icount. */
import { VmError } from "../../base/errors.js";
import type { TraceItem } from "../../base/trace.js";
import { TRACE_ITEMS } from "../../machine/catalog.js";
import { type Draft, type OptionGroup, PrintAndExit } from "./draft.js";
import { isHelp, splitList, toMap } from "./grammar.js";
import { PropReader } from "./reader.js";

function traceHelp(): string {
  return `Log items (comma separated):\n${TRACE_ITEMS.map((t) => `${t.name.padEnd(15)} ${t.description}\n`).join("")}`;
}

/** Reads the items of `-d` and of the monitor's `log`. @throws VmError "option/invalid" */
export function parseTraceItems(value: string, origin: string): TraceItem[] {
  const items: TraceItem[] = [];
  for (const word of value.split(",")) {
    const found = TRACE_ITEMS.find((t) => t.name === word);
    if (!found) throw new VmError("option/invalid", `${origin}: unknown or unsupported log item '${word}'; -d help lists them`);
    items.push(found.name);
  }
  return items;
}

function parseIcount(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "shift")), origin);
  const text = r.text("shift");
  let shift: number | "auto" = "auto";
  if (text !== undefined && text !== "auto") {
    shift = /^\d+$/.test(text) ? Number(text) : -1;
    if (shift < 0 || shift > 10) r.fail("option/invalid", `icount: Invalid shift value '${text}': 0 to 10, or auto`);
  }
  const sleep = r.flag("sleep", true);
  const align = r.flag("align", false);
  r.refuse("rr", "rrfile", "rrsnapshot");
  r.end();
  if (text === undefined) r.fail("option/missing", "shift=N or shift=auto is needed");
  if (align && (shift === "auto" || !sleep)) r.fail("option/invalid", "align=on needs a fixed shift and sleep=on");
  if (!sleep && shift === "auto") r.fail("option/invalid", "shift=auto and sleep=off are incompatible");
  draft.icount = { shift, align, sleep };
}

export const DEBUG: OptionGroup = {
  heading: "Debug/Expert options",
  options: [
    {
      names: ["icount"],
      argument: "[shift=N|auto][,align=on|off][,sleep=on|off]",
      help: ["virtual time advances with instructions: 2^N ns for each"],
      parse: parseIcount,
    },
    {
      names: ["d"],
      argument: "item1,...",
      help: ["enable logging of specified items ('-d help' for list)"],
      parse: (d, v, o) => {
        if (isHelp(v)) throw new PrintAndExit(traceHelp());
        d.traceItems.push(...parseTraceItems(v, o));
      },
    },
    {
      names: ["D"],
      argument: "logfile",
      help: ["output log to logfile (default stderr)"],
      parse: (d, v, o) => {
        if (v === "") throw new VmError("option/missing", `${o}: a file name is needed`);
        d.traceFile = v;
      },
    },
  ],
};

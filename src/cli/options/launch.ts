/** -daemonize, -pidfile, -add-fd, -msg, -overcommit: what concerns the process rather than the machine. */
import { VmError } from "../../base/errors.js";
import type { OptionGroup } from "./draft.js";
import { splitList, toMap } from "./grammar.js";
import { PropReader } from "./reader.js";

const FD_MAX = 2 ** 20;

export const LAUNCH: OptionGroup = {
  heading: "Process options",
  options: [
    {
      names: ["daemonize"],
      help: ["run in the background once the machine is there"],
      parse: (d) => {
        d.launch.daemonize = true;
      },
    },
    {
      names: ["pidfile"],
      argument: "file",
      help: ["write PID to 'file'"],
      parse: (d, value, origin) => {
        if (value === "") throw new VmError("option/missing", `${origin}: a file name is needed`);
        d.launch.pidFile = value;
      },
    },
    {
      names: ["add-fd"],
      argument: "fd=fd,set=set[,opaque=opaque]",
      help: ["add an inherited descriptor to a set: the path /dev/fdset/SET"],
      parse: (d, value, origin) => {
        const r = new PropReader(toMap(splitList(value)), origin);
        const fd = r.number("fd", 3, FD_MAX) ?? r.fail("option/missing", "Parameter 'fd' is missing");
        const set = r.number("set") ?? r.fail("option/missing", "Parameter 'set' is missing");
        const opaque = r.text("opaque");
        r.end();
        d.fdSets.push({ set, fd, opaque });
      },
    },
    {
      names: ["msg"],
      argument: "[timestamp=on|off][,guest-name=on|off]",
      help: ["what messages on stderr begin with"],
      parse: (d, value, origin) => {
        const r = new PropReader(toMap(splitList(value)), origin);
        d.launch.msgTimestamp = r.flag("timestamp", d.launch.msgTimestamp);
        d.launch.msgGuestName = r.flag("guest-name", d.launch.msgGuestName);
        r.end();
      },
    },
    {
      names: ["overcommit"],
      argument: "[mem-lock=off][,cpu-pm=off]",
      help: ["guest memory is not locked, the host's power management not given to the guest"],
      parse: (_d, value, origin) => {
        const r = new PropReader(toMap(splitList(value)), origin);
        r.only("mem-lock", ["off"]);
        r.only("cpu-pm", ["off"]);
        r.end();
      },
    },
  ],
};

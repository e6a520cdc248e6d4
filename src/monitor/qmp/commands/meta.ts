/** Negotiation, introspection, the human monitor, descriptors. Source: QEMU 7.2 qapi/control.json, introspect.json, misc.json. */
import { OPTION_GROUPS } from "../../../cli/options/table.js";
import { MACHINE_TYPES } from "../../../machine/catalog.js";
import { HmpSession } from "../../hmp/session.js";
import { command, type QmpCommand } from "../command.js";
import { generic } from "../errors.js";
import { QMP_EVENTS } from "../events.js";
import { introspection } from "../introspect.js";
import { versionInfo } from "../session.js";
import { QMP_COMMANDS } from "../table.js";
import { any, array, enumeration, int, optional, str, struct } from "../types.js";

const VERSION_TRIPLE = struct("VersionTriple", { major: int, minor: int, micro: int });
const COMMAND_LINE_PARAMETER = struct("CommandLineParameterInfo", {
  name: str,
  type: enumeration("CommandLineParameterType", ["string", "boolean", "number", "size"]),
  help: optional(str),
  default: optional(str),
});
const FDSET = struct("FdsetInfo", {
  "fdset-id": int,
  fds: array(struct("FdsetFdInfo", { fd: int, opaque: optional(str) })),
});

/** Properties of `-machine`, for clients that look for one. */
function machineParameters() {
  return (MACHINE_TYPES[0]?.properties ?? []).flatMap((p) => {
    const type = p.accepts.every((v) => v === "on" || v === "off") ? ("boolean" as const) : ("string" as const);
    return [p.name, ...(p.aliases ?? [])].map((name) => ({ name, type, help: p.description }));
  });
}

const isDescriptorName = (name: string) => name !== "" && !/^\d/.test(name);

export const META_COMMANDS: readonly QmpCommand[] = [
  command("qmp_capabilities", {
    doc: "Ends the negotiation; there are no capabilities to enable.",
    args: { enable: optional(array(enumeration("QMPCapability", ["oob"]))) },
    // The session answers it, for what it means depends on the client.
    run: () => ({}),
  }),
  command("query-version", {
    doc: "The version of QEMU that the machine follows, and of Tandem.",
    returns: struct("VersionInfo", { qemu: VERSION_TRIPLE, package: str }),
    run: versionInfo,
  }),
  command("query-commands", {
    doc: "The commands that there are.",
    returns: array(struct("CommandInfo", { name: str })),
    run: () => QMP_COMMANDS.map(({ name }) => ({ name })),
  }),
  command("query-qmp-schema", {
    doc: "Commands, events and their types.",
    returns: array(any),
    run: () => introspection(QMP_COMMANDS, QMP_EVENTS),
  }),
  command("query-command-line-options", {
    doc: "The options of the command line that take parameters.",
    args: { option: optional(str) },
    returns: array(struct("CommandLineOptionInfo", { option: str, parameters: array(COMMAND_LINE_PARAMETER) })),
    run: (_, { option }) => {
      const all = OPTION_GROUPS.flatMap((g) => g.options)
        .filter((o) => o.argument !== undefined)
        .map((o) => ({ option: o.names[0]!, parameters: o.names[0] === "machine" ? machineParameters() : [] }));
      if (option === undefined) return all;
      const found = all.filter((o) => o.option === option);
      if (found.length === 0) throw generic(`invalid option name: ${option}`);
      return found;
    },
  }),
  command("human-monitor-command", {
    doc: "Runs a line of the human monitor.",
    args: { "command-line": str, "cpu-index": optional(int) },
    returns: str,
    run: async ({ target }, args) => {
      const session = new HmpSession(target);
      let out = "";
      const print = (text: string) => {
        out += text;
      };
      const cpu = args["cpu-index"];
      if (cpu !== undefined) {
        if (!target.inspect.cpus().some((c) => c.index === cpu)) throw generic("Parameter 'cpu-index' expects a CPU number");
        await session.execute(`cpu ${cpu}`, print);
      }
      await session.execute(args["command-line"], print);
      // As in QEMU's texts that programs read, lines end with CR LF.
      return out.replaceAll("\n", "\r\n");
    },
  }),
  command("getfd", {
    doc: "Gives a name to the descriptor that came with the command.",
    args: { fdname: str },
    run: ({ client, target }, { fdname }) => {
      const fd = client.takeFd();
      if (fd === undefined) throw generic("No file descriptor supplied via SCM_RIGHTS");
      if (!isDescriptorName(fdname)) {
        target.closeFd(fd);
        throw generic("Parameter 'fdname' expects a name not starting with a digit");
      }
      const old = client.fds.get(fdname);
      if (old !== undefined) target.closeFd(old);
      client.fds.set(fdname, fd);
    },
  }),
  command("closefd", {
    doc: "Closes a descriptor got by getfd.",
    args: { fdname: str },
    run: ({ client, target }, { fdname }) => {
      const fd = client.fds.get(fdname);
      if (fd === undefined) throw generic(`File descriptor named '${fdname}' not found`);
      client.fds.delete(fdname);
      target.closeFd(fd);
    },
  }),
  command("query-fdsets", {
    doc: "The descriptor sets of -add-fd.",
    returns: array(FDSET),
    run: ({ target }) => {
      const sets = new Map<number, { fd: number; opaque?: string | undefined }[]>();
      for (const { set, fd, opaque } of target.config.fdSets) sets.set(set, [...(sets.get(set) ?? []), { fd, opaque }]);
      return [...sets].map(([id, fds]) => ({ "fdset-id": id, fds }));
    },
  }),
  command("query-name", {
    doc: "The guest's name.",
    returns: struct("NameInfo", { name: optional(str) }),
    run: ({ target }) => ({ name: target.name }),
  }),
  command("query-uuid", {
    doc: "The guest's UUID.",
    returns: struct("UuidInfo", { UUID: str }),
    run: ({ target }) => ({ UUID: target.uuid }),
  }),
  command("quit", {
    doc: "Ends the emulator; disks are flushed.",
    run: ({ target, afterReply }) => afterReply(() => target.quit()),
  }),
];

/** Run control, keys, screens, media, ring buffers. */
import { VmError } from "../../base/errors.js";
import { TRACE_ITEMS } from "../../machine/catalog.js";
import { DEFAULT_HOLD_MS, KEY_NAMES, parseSendkey } from "../../ui/keymap.js";
import { encodePng } from "../../ui/png.js";
import { encodePpm } from "../../ui/ppm.js";
import { deviceConfig } from "../hotplug.js";
import type { MonitorTarget } from "../target.js";
import type { Args, Command } from "./command.js";
import { setVncPassword } from "./vnc.js";

/** A command without arguments. */
function plain(names: readonly string[], help: string, action: (target: MonitorTarget) => void | Promise<void>): Command {
  return {
    names,
    args: "",
    help,
    run: (context, args) => {
      args.end();
      return action(context.target);
    },
  };
}

const removable = (target: MonitorTarget) =>
  target
    .blocks()
    .filter((b) => b.drive.media !== "disk")
    .map((b) => b.drive.id);

const screendump: Command = {
  names: ["screendump"],
  args: "filename [-f format]",
  help: "save screen into PPM or PNG image 'filename' (default format: from the name, else PPM)",
  run: async ({ target }, args) => {
    let format = args.option("f");
    const path = args.word();
    format ??= args.option("f") ?? (/\.png$/i.test(path) ? "png" : "ppm");
    args.end();
    if (format !== "png" && format !== "ppm") args.fail(`unknown format '${format}': png or ppm`);
    const display = target.inspect.display();
    if (!display) throw new VmError("monitor/bad-command", "There is no console to take a screendump from.");
    const surface = display.refresh();
    await target.writeFile(path, format === "png" ? encodePng(surface) : encodePpm(surface));
  },
};

const sendkey: Command = {
  names: ["sendkey"],
  args: "keys [hold_ms]",
  help: "send keys to the VM (e.g. 'sendkey ctrl-alt-f1', default hold time=100 ms)",
  complete: () => KEY_NAMES,
  run: ({ target }, args) => {
    const names = parseSendkey(args.word());
    const holdMs = args.atEnd ? DEFAULT_HOLD_MS : args.integer(0, 60000, "hold_ms");
    args.end();
    target.sendKeys(names, holdMs);
  },
};

const eject: Command = {
  names: ["eject"],
  args: "[-f] device",
  help: "eject a removable medium (use -f to force it)",
  complete: removable,
  run: async ({ target }, args) => {
    const force = args.flags("f").has("f");
    const device = args.word();
    args.end();
    await target.eject(device, force);
  },
};

const accel: Command = {
  names: ["accel"],
  args: "tcg|kvm",
  help: "go on on another accelerator; memory and devices stay as they are",
  complete: (target) => target.accelerators(),
  run: async ({ target }, args) => {
    const name = args.word();
    args.end();
    if (name === "tcg" || name === "kvm") await target.setAccelerator(name);
    else args.fail(`invalid accelerator ${name}`);
  },
};

const MODES = ["retain", "read-only", "read-write"] as const;

const change: Command = {
  names: ["change"],
  args: "device filename [format [read-only-mode]] | vnc password text",
  help: "change a removable medium, optional format (raw) and mode (retain, read-only, read-write)",
  complete: removable,
  run: async ({ target }, args) => {
    const device = args.word();
    if (device === "vnc") {
      if (args.word() !== "password") args.fail("change vnc: only 'password' is supported");
      setVncPassword(target, args.word());
      args.end();
      return;
    }
    const file = args.word();
    const format = args.optionalWord();
    if (format !== undefined && format !== "raw") args.fail(`format '${format}' is not supported; use raw`);
    const word = args.optionalWord() ?? "retain";
    args.end();
    const mode = MODES.find((m) => m === word) ?? args.fail(`read-only-mode '${word}': one of ${MODES.join(", ")}`);
    await target.change(device, file, mode);
  },
};

const migrate: Command = {
  names: ["migrate"],
  args: "[-d] uri",
  help: "save the VM's state to a stream: exec:command, file:path, fd:n, unix:path, tcp:host:port (-d: don't wait)",
  run: async ({ target }, args) => {
    const detach = args.flags("d").has("d");
    const uri = args.rest();
    if (uri === "") args.fail("string expected");
    const { done } = await target.migration.start(uri.replace(/^"(.*)"$/s, "$1"));
    if (detach) return;
    await done;
    const { info } = target.migration;
    if (info?.error !== undefined) throw new VmError("migration/io", info.error);
  },
};

function ringbuf(target: MonitorTarget, args: Args) {
  const id = args.word();
  return target.ringbuf(id) ?? args.fail(`'${id}' is not a ringbuf device`);
}

export const CONTROL_COMMANDS: readonly Command[] = [
  accel,
  plain(["stop", "s"], "stop emulation", (t) => t.stop()),
  plain(["cont", "c"], "resume emulation", (t) => t.cont()),
  plain(["system_reset"], "reset the system", (t) => t.reset()),
  plain(["system_powerdown"], "send system power down event", (t) => t.powerdown()),
  plain(["system_wakeup"], "wakeup guest from suspend", (t) => t.wakeup()),
  plain(["quit", "q"], "quit the emulator", (t) => t.quit()),
  {
    names: ["device_add"],
    args: "driver[,prop=value][,...]",
    help: "add device, like -device on the command line",
    run: ({ target }, args) => {
      const text = args.rest();
      if (text === "") args.fail("string expected");
      target.plugDevice(deviceConfig(text, "device_add"));
    },
  },
  {
    names: ["device_del"],
    args: "device",
    help: "remove device",
    run: ({ target }, args) => {
      const id = args.word();
      args.end();
      target.unplugDevice(id);
    },
  },
  {
    names: ["savevm"],
    args: "tag",
    help: "save a VM snapshot. If no tag is provided, a new one is made of the date",
    run: ({ target }, args) => {
      const tag = args.optionalWord() ?? `vm-${new Date(target.wallMs()).toISOString().replace(/\D/g, "").slice(0, 14)}`;
      args.end();
      return target.snapshots.save(tag);
    },
  },
  {
    names: ["loadvm"],
    args: "tag",
    help: "restore a VM snapshot from its tag",
    complete: (target) => target.snapshots.list().map((s) => s.name),
    run: ({ target }, args) => {
      const tag = args.word();
      args.end();
      return target.snapshots.load(tag);
    },
  },
  {
    names: ["delvm"],
    args: "tag",
    help: "delete a VM snapshot from its tag",
    complete: (target) => target.snapshots.list().map((s) => s.name),
    run: ({ target }, args) => {
      const tag = args.word();
      args.end();
      return target.snapshots.remove(tag);
    },
  },
  migrate,
  plain(["migrate_cancel"], "cancel the current VM migration", (t) => t.migration.cancel()),
  {
    names: ["migrate_incoming"],
    args: "uri",
    help: "continue an incoming migration from an -incoming defer",
    run: ({ target }, args) => {
      const uri = args.rest();
      if (uri === "") args.fail("string expected");
      return target.load(uri.replace(/^"(.*)"$/s, "$1"));
    },
  },
  plain(["nmi"], "inject an NMI", (t) => t.nmi()),
  {
    names: ["cpu"],
    args: "index",
    help: "set the default CPU",
    run: ({ target, session }, args) => {
      const index = args.integer(0, 0xffff, "index");
      args.end();
      if (!target.inspect.cpus().some((c) => c.index === index)) throw new VmError("monitor/bad-command", "invalid CPU index");
      session.cpu = index;
    },
  },
  sendkey,
  screendump,
  eject,
  change,
  {
    names: ["log"],
    args: "item1[,...]",
    help: "activate logging of the specified items ('none' for none)",
    complete: () => TRACE_ITEMS.map((t) => t.name),
    run: ({ target, print }, args) => {
      const word = args.optionalWord();
      args.end();
      if (word === undefined || word === "help") {
        print("Log items (comma separated):\n");
        for (const t of TRACE_ITEMS) print(`${t.name.padEnd(15)} ${t.description}\n`);
        print(`${"none".padEnd(15)} remove all logs\n`);
      } else target.setTrace(word === "none" ? [] : word.split(","));
    },
  },
  {
    names: ["ringbuf_read"],
    args: "device size",
    help: "read from a ring buffer character device",
    run: ({ target, print }, args) => {
      const buffer = ringbuf(target, args);
      const size = args.integer(0, 2 ** 26, "size");
      args.end();
      const shown = new TextDecoder()
        .decode(buffer.read(size))
        .replace(/[\\]|[^\n\x20-\x7e]/g, (c) => (c === "\\" ? "\\\\" : `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`));
      print(`${shown}\n`);
    },
  },
  {
    names: ["ringbuf_write"],
    args: "device data",
    help: "write to a ring buffer character device",
    run: ({ target }, args) => {
      const buffer = ringbuf(target, args);
      buffer.send(new TextEncoder().encode(args.rest()));
    },
  },
];

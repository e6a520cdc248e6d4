/** -chardev, -serial, -monitor, -mon, -parallel, and the short forms that stand for a chardev. */
import { VmError } from "../../base/errors.js";
import type { SocketAddress } from "../../host/host.js";
import { CHARDEV_BACKENDS } from "../../machine/catalog.js";
import type { ChardevBackendConfig, ChardevConfig } from "../../machine/config.js";
import { type CharUse, type Draft, type OptionGroup, PrintAndExit } from "./draft.js";
import { isHelp, splitList, toMap } from "./grammar.js";
import { PropReader } from "./reader.js";

const RINGBUF_DEFAULT = 65536;
const RINGBUF_MAX = 2 ** 26;
const REFUSED_BACKENDS = [
  "vc",
  "udp",
  "serial",
  "tty",
  "parallel",
  "parport",
  "msmouse",
  "wctablet",
  "braille",
  "testdev",
  "spicevmc",
  "spiceport",
  "console",
  "dbus",
  "qemu-vdagent",
];

/** -chardev BACKEND,id=ID,... */
function parseChardev(draft: Draft, value: string, origin: string): void {
  const props = toMap(splitList(value, "backend"));
  const backend = props.get("backend") ?? "";
  if (isHelp(backend))
    throw new PrintAndExit(`Available chardev backend types: \n${CHARDEV_BACKENDS.map((b) => `  ${b}\n`).join("")}`);
  const r = new PropReader(props, origin);
  r.text("backend");
  const id = r.need("id");
  checkId(id, origin);
  const common = {
    id,
    mux: r.flag("mux", false),
    logFile: r.text("logfile"),
    logAppend: r.flag("logappend"),
    origin,
  };
  addChardev(draft, { ...common, ...readBackend(backend, r) });
  r.end();
}

/** @throws VmError for names QEMU would not take as an id */
export function checkId(id: string, origin: string): void {
  if (!/^[A-Za-z][A-Za-z0-9._-]*$/.test(id))
    throw new VmError("option/invalid", `${origin}: Parameter 'id' expects an identifier, not '${id}'`);
}

function addChardev(draft: Draft, config: ChardevConfig): void {
  if (draft.chardevs.some((c) => c.id === config.id))
    throw new VmError("option/invalid", `${config.origin}: Duplicate ID '${config.id}' for chardev`);
  draft.chardevs.push(config);
}

function readBackend(backend: string, r: PropReader): ChardevBackendConfig {
  switch (backend) {
    case "null":
      return { backend };
    case "ringbuf":
    case "memory": {
      const sizeBytes = r.size("size") ?? RINGBUF_DEFAULT;
      if (sizeBytes < 1 || sizeBytes > RINGBUF_MAX || 2 ** Math.round(Math.log2(sizeBytes)) !== sizeBytes)
        r.fail("option/invalid", `size of ringbuf chardev must be a power of two up to ${RINGBUF_MAX}`);
      return { backend: "ringbuf", sizeBytes };
    }
    case "stdio":
      return { backend, signal: r.flag("signal", true) };
    case "file":
      return { backend, path: r.need("path"), append: r.flag("append", false), inputPath: r.text("input-path") };
    case "pipe":
      return { backend, path: r.need("path") };
    case "pty":
      return { backend };
    case "socket":
      return readSocket(r);
    default:
      return r.fail(
        "chardev/unknown",
        REFUSED_BACKENDS.includes(backend)
          ? `chardev backend '${backend}' is not supported`
          : `'${backend}' is not a valid char driver`,
      );
  }
}

function readSocket(r: PropReader): ChardevBackendConfig {
  const path = r.text("path");
  const fd = r.number("fd", 0, 2 ** 20);
  let address: SocketAddress;
  if (fd !== undefined) {
    if (path !== undefined) return r.fail("option/invalid", "'fd' and 'path' exclude each other");
    address = { kind: "fd", fd };
  } else if (path !== undefined && path !== "") address = { kind: "unix", path };
  else {
    const port = r.number("port", 0, 65535);
    if (port === undefined) return r.fail("option/missing", "a socket needs 'path', 'fd', or 'host' and 'port'");
    address = { kind: "tcp", host: r.text("host") || "", port };
  }
  const server = r.flag("server", false);
  const wait = r.flag("wait");
  const reconnectSec = r.number("reconnect", 0, 86400) ?? 0;
  for (const name of ["telnet", "tn3270", "websocket"]) r.only(name, ["off"]);
  r.refuse("tls-creds", "tls-authz", "abstract", "tight");
  for (const name of ["to", "ipv4", "ipv6"]) r.refuse(name);
  const nodelay = r.flag("nodelay", false) || r.flag("delay") === false;
  if (wait !== undefined && !server) r.fail("option/invalid", "'wait' option is incompatible with socket in client connect mode");
  if (reconnectSec > 0 && server)
    r.fail("option/invalid", "'reconnect' option is incompatible with socket in server listen mode");
  return { backend: "socket", address, server, wait: server && (wait ?? true), nodelay, reconnectSec };
}

/**
 * A short form (`stdio`, `mon:stdio`, `file:log`, `unix:/tmp/s,server,nowait`, `chardev:ID`, `none`): adds the chardev it
 * stands for under `id`. @returns the chardev to use, undefined for "none"
 */
export function shortForm(draft: Draft, text: string, id: string, origin: string): string | undefined {
  if (text === "none") return undefined;
  const reference = /^chardev:(.*)$/s.exec(text);
  if (reference) return reference[1]!;
  const mux = text.startsWith("mon:");
  const spec = mux ? text.slice(4) : text;
  addChardev(draft, { id, mux, origin, ...shortBackend(spec, mux, origin) });
  return id;
}

function shortBackend(spec: string, mux: boolean, origin: string): ChardevBackendConfig {
  const colon = spec.indexOf(":");
  const kind = colon < 0 ? spec : spec.slice(0, colon);
  const rest = colon < 0 ? "" : spec.slice(colon + 1);
  const fail = (what: string): never => {
    throw new VmError("chardev/unknown", `${origin}: ${what}`);
  };
  if (colon < 0) {
    if (kind === "null" || kind === "pty") return { backend: kind };
    // Under a mux Ctrl-C is the guest's; Ctrl-a x ends the emulator.
    if (kind === "stdio") return { backend: "stdio", signal: !mux };
  }
  switch (kind) {
    case "file":
    case "pipe":
      if (rest === "") fail(`'${spec}' needs a path`);
      return kind === "file" ? { backend: "file", path: rest, append: false } : { backend: "pipe", path: rest };
    case "unix":
    case "tcp": {
      const comma = rest.indexOf(",");
      const where = comma < 0 ? rest : rest.slice(0, comma);
      const props = toMap(splitList(comma < 0 ? "" : rest.slice(comma + 1)));
      if (kind === "unix") props.set("path", where);
      else {
        const m = /^(?:\[([^\]]*)\]|([^:]*)):(\d+)$/.exec(where);
        if (!m) return fail(`'${spec}': expected tcp:HOST:PORT`);
        props.set("host", m[1] ?? m[2] ?? "").set("port", m[3]!);
      }
      const r = new PropReader(props, origin);
      const config = readSocket(r);
      r.end();
      return config;
    }
  }
  const known =
    ["vc", "udp", "telnet", "tn3270", "websocket", "con", "msmouse", "braille", "testdev"].includes(kind) ||
    kind.startsWith("/dev/") ||
    /^COM\d$/.test(kind);
  return fail(known ? `'${spec}' is not supported` : `'${spec}' is not a character device`);
}

function parseSerial(draft: Draft, value: string, origin: string): void {
  const n = draft.serials.length;
  if (n >= 4) throw new VmError("option/invalid", `${origin}: the machine has 4 serial ports`);
  draft.serials.push({ chardev: shortForm(draft, value, `serial${n}`, origin), origin });
  // The monitor of a shared backend is there already.
  if (value.startsWith("mon:")) {
    draft.monitorSet = true;
    draft.monitors.push({ chardev: `serial${n}`, origin });
  }
}

function parseMonitor(draft: Draft, value: string, origin: string): void {
  draft.monitorSet = true;
  const id = `compat_monitor${draft.monitors.length}`;
  const use: CharUse = { chardev: shortForm(draft, value, id, origin), origin };
  if (use.chardev !== undefined) draft.monitors.push(use);
}

function parseQmp(pretty: boolean) {
  return (draft: Draft, value: string, origin: string): void => {
    const id = `compat_monitor${draft.monitors.length}`;
    const chardev = shortForm(draft, value, id, origin);
    if (chardev !== undefined) draft.monitors.push({ chardev, origin, mode: "control", pretty });
  };
}

function parseMon(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "chardev")), origin);
  const chardev = r.need("chardev");
  const mode = r.choice("mode", ["readline", "control"]);
  const pretty = r.flag("pretty");
  if (pretty !== undefined && mode !== "control") r.fail("option/invalid", "'pretty' is only for mode=control");
  // The monitor's own name; nothing refers to it.
  r.text("id");
  r.end();
  draft.monitorSet ||= mode !== "control";
  draft.monitors.push({ chardev, origin, mode: mode ?? "readline", pretty });
}

export const CHARACTERS: OptionGroup = {
  heading: "Character device options",
  options: [
    {
      names: ["chardev"],
      argument: "BACKEND,id=id[,mux=on|off][,logfile=PATH][,logappend=on|off][,...]",
      help: [
        "'-chardev help' for list",
        "null | stdio[,signal=on|off] | file,path=path[,append=on|off][,input-path=path]",
        "ringbuf[,size=size] | pipe,path=path | pty",
        "socket,path=path[,server=on|off][,wait=on|off][,reconnect=seconds]",
        "socket,fd=fd[,server=on|off][,wait=on|off] (an inherited socket)",
        "socket,host=host,port=port[,server=on|off][,wait=on|off][,nodelay=on|off][,reconnect=seconds]",
      ],
      parse: parseChardev,
    },
    {
      names: ["serial"],
      argument: "dev",
      help: [
        "redirect the serial port to char device 'dev'",
        "none, null, pty, stdio, mon:stdio, file:path, pipe:path, unix:path[,server][,nowait],",
        "tcp:host:port[,server][,nowait], chardev:id; up to four times",
      ],
      parse: parseSerial,
    },
    {
      names: ["parallel"],
      argument: "none",
      help: ["there is no parallel port"],
      parse: (_d, value, origin) => {
        if (value !== "none") throw new VmError("option/unsupported", `${origin}: parallel ports are not supported`);
      },
    },
    { names: ["monitor"], argument: "dev", help: ["redirect the monitor to char device 'dev'"], parse: parseMonitor },
    { names: ["qmp"], argument: "dev", help: ["like -monitor, but with the QMP protocol"], parse: parseQmp(false) },
    { names: ["qmp-pretty"], argument: "dev", help: ["like -qmp, with one member a line"], parse: parseQmp(true) },
    {
      names: ["mon"],
      argument: "[chardev=]name[,mode=readline|control][,pretty=on|off]",
      help: ["open a monitor on a chardev; control: the QMP protocol"],
      parse: parseMon,
    },
  ],
};

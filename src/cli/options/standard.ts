/** -machine, -accel, -cpu, -m, -smp, -name, -uuid, -rtc, -global and the like. */
import { VmError } from "../../base/errors.js";
import { ACCELERATORS, MACHINE_TYPES, type MachineProperty, type MachineType, OTHER_MACHINES } from "../../machine/catalog.js";
import type { GuestArch } from "../../machine/config.js";
import { CPU_MODELS, cpuFeatureNames, cpuModel } from "../../target/x86/cpu-models.js";
import { parsePpcCpu } from "./cpu-ppc.js";
import { type Draft, type OptionGroup, PrintAndExit } from "./draft.js";
import { isHelp, parseSwitch, splitList, toMap, toProperties } from "./grammar.js";
import { PropReader } from "./reader.js";

const machineOf = (draft: Draft) => MACHINE_TYPES.find((m) => m.name === draft.machineType)!;

/** Takes the RAM object's name; it is checked against `-object` when all options are known. */
const MEMORY_BACKEND = "memory-backend";

function machineHelp(arch: GuestArch): string {
  const row = (name: string, text: string) => `${name.padEnd(20)} ${text}\n`;
  let out = "Supported machines are:\n";
  for (const m of MACHINE_TYPES.filter((t) => t.archs.includes(arch))) {
    if (m.canonical !== m.name) out += row(m.name, `${m.description} (alias of ${m.canonical})`);
    out += row(m.canonical, `${m.description}${m.isDefault ? " (default)" : ""}`);
  }
  return out;
}

function machinePropertyHelp({ canonical, properties }: MachineType): string {
  return `${canonical} options:\n${properties.map((p) => `  ${p.name}=<${p.accepts.join("|")}> - ${p.description}\n`).join("")}`;
}

function findMachineProperty(machine: MachineType, name: string): MachineProperty | undefined {
  return machine.properties.find((p) => p.name === name || p.aliases?.includes(name));
}

function parseMachine(draft: Draft, value: string, origin: string): void {
  const pairs = splitList(value, "type");
  for (const { name, value: v } of pairs) {
    if (name === "type") {
      if (isHelp(v)) throw new PrintAndExit(machineHelp(draft.arch));
      const type = MACHINE_TYPES.find((m) => m.archs.includes(draft.arch) && (m.name === v || m.aliases.includes(v)));
      if (type) {
        draft.machineType = type.name;
        continue;
      }
      const why = OTHER_MACHINES.includes(v) ? `machine type '${v}' is not supported` : `unsupported machine type '${v}'`;
      throw new VmError("machine/unknown", `${origin}: ${why}; use -machine help to list supported machines`);
    }
    if (isHelp(name)) throw new PrintAndExit(machinePropertyHelp(machineOf(draft)));
    if (name === "accel") {
      draft.accels = v.split(":").map((a) => accelConfig(a, new Map(), origin));
      continue;
    }
    if (name === MEMORY_BACKEND) {
      draft.memoryBackend = { id: v, origin };
      continue;
    }
    const property = findMachineProperty(machineOf(draft), name);
    if (!property) throw new VmError("option/unknown", `${origin}: Property '${draft.machineType}.${name}' not found`);
    // Switches may be written in any of QEMU's words.
    const sw = property.accepts.includes(v) ? undefined : parseSwitch(v);
    const word = sw === undefined ? v : sw ? "on" : "off";
    if (!property.accepts.includes(word)) {
      const known = sw !== undefined || ["on", "off", "auto", "split", "dual", "xive", "enabled", "required"].includes(word);
      throw new VmError(
        known ? "option/unsupported" : "option/invalid",
        `${origin}: ${name}=${v} is ${known ? "not supported" : "invalid"}: ${property.accepts.join(" or ")}`,
      );
    }
    draft.machineProps.set(property.name, word);
  }
}

function accelConfig(name: string, props: ReadonlyMap<string, string>, origin: string) {
  if (name !== "tcg" && name !== "kvm" && name !== "auto")
    throw new VmError("accel/unknown", `${origin}: invalid accelerator ${name}`);
  return { name, props: toProperties(props) } as const;
}

function parseAccel(draft: Draft, value: string, origin: string): void {
  const props = toMap(splitList(value, "accel"));
  const name = props.get("accel") ?? "";
  if (isHelp(name))
    throw new PrintAndExit(`Accelerators supported in this version:\n${ACCELERATORS.map((a) => `${a.name}\n`).join("")}`);
  const reader = new PropReader(props, origin);
  reader.text("accel");
  const kept = new Map<string, string>();
  if (name === "tcg") {
    reader.only("thread", ["single"], "is not supported: the vCPUs take turns on one thread");
    const tb = reader.number("tb-size", 1, 2048);
    if (tb !== undefined) kept.set("tb-size", String(tb));
    reader.only("split-wx", ["off"]);
    reader.end();
  } else if (name === "auto") reader.end();
  else if (name === "kvm") {
    const assist = reader.flag("x-assist");
    if (assist !== undefined) kept.set("x-assist", assist ? "on" : "off");
    reader.only("kernel-irqchip", ["off"], "is not supported: the interrupt controllers are the machine's own");
    reader.end();
  }
  draft.accels.push(accelConfig(name, kept, origin));
}

function cpuHelp(): string {
  let out = "Available CPUs:\n";
  for (const [name, model] of Object.entries(CPU_MODELS).sort(([a], [b]) => (a < b ? -1 : 1)))
    out += `x86 ${name.padEnd(20)}  ${model.description}\n`;
  out += "\nRecognized CPUID flags:\n";
  let line = " ";
  for (const f of cpuFeatureNames().sort()) {
    if (line.length + f.length + 1 > 75) {
      out += `${line}\n`;
      line = " ";
    }
    line += ` ${f}`;
  }
  return `${out}${line}\n`;
}

/** CPU properties that are not features, and act. */
const CPU_PROPERTIES = ["check", "enforce"];

function parseCpu(draft: Draft, value: string, origin: string): void {
  if (draft.arch === "ppc64") return parsePpcCpu(draft, value, origin);
  const [model = "", ...rest] = value.split(",");
  if (isHelp(model)) throw new PrintAndExit(cpuHelp());
  if (model !== "host" && !Object.hasOwn(CPU_MODELS, model))
    throw new VmError("cpu/unknown", `${origin}: unable to find CPU model '${model}'`);
  const features: { name: string; on: boolean }[] = [];
  const props = new Map<string, string>();
  const feature = (name: string, on: boolean) => {
    const change = { name, on };
    try {
      cpuModel(model === "host" ? "max" : model, [change]);
    } catch (cause) {
      throw new VmError("cpu/unsupported-feature", `${origin}: Property 'cpu.${name}' not found`, { cause });
    }
    features.push(change);
  };
  for (const item of rest) {
    if (item === "") continue;
    if (item[0] === "+" || item[0] === "-") {
      feature(item.slice(1), item[0] === "+");
      continue;
    }
    const equals = item.indexOf("=");
    const name = equals < 0 ? item : item.slice(0, equals);
    const text = equals < 0 ? "on" : item.slice(equals + 1);
    const on = parseSwitch(text);
    if (OTHER_CPU_PROPERTIES.has(name))
      throw new VmError("option/unsupported", `${origin}: CPU property '${name}' is not supported`);
    if (on === undefined)
      throw new VmError("option/invalid", `${origin}: Parameter '${name}' expects 'on' or 'off', not '${text}'`);
    if (CPU_PROPERTIES.includes(name)) props.set(name, on ? "on" : "off");
    else feature(name, on);
  }
  draft.cpu = { model, features, props: toProperties(props) };
}

/** Properties of QEMU's CPUs that are refused by name. */
const OTHER_CPU_PROPERTIES = new Set(
  "family model stepping model-id vendor level xlevel min-level min-xlevel phys-bits host-phys-bits tsc-frequency apic-id kvm pmu migratable hv-relaxed hv-vapic hv-spinlocks hv-time l3-cache legacy-cache topoext".split(
    " ",
  ),
);

function parseMemory(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "size")), origin);
  const size = r.size("size", "M");
  r.refuse("slots", "maxmem");
  r.end();
  if (size === 0) r.fail("option/invalid", "the guest needs memory: size=0");
  // Rounded up to 8 KiB, as QEMU does.
  if (size !== undefined) draft.memoryBytes = Math.ceil(size / 8192) * 8192;
}

function parseSmp(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "cpus")), origin);
  const n = (name: string) => r.number(name, 1, 4096);
  let cpus = n("cpus");
  let maxCpus = n("maxcpus");
  let sockets = n("sockets");
  let cores = n("cores");
  let threads = n("threads");
  for (const name of ["dies", "clusters"]) r.only(name, ["1"]);
  r.end();
  // What is left out follows from the rest: cores first (QEMU 6.2 and later).
  const wanted = maxCpus ?? cpus;
  if (wanted === undefined) {
    sockets ??= 1;
    cores ??= 1;
    threads ??= 1;
  } else if (cores === undefined) {
    sockets ??= 1;
    threads ??= 1;
    cores = Math.floor(wanted / (sockets * threads)) || 1;
  } else if (sockets === undefined) {
    threads ??= 1;
    sockets = Math.floor(wanted / (cores * threads)) || 1;
  } else threads ??= Math.floor(wanted / (sockets * cores)) || 1;
  const total = sockets! * cores! * threads!;
  maxCpus ??= wanted ?? total;
  cpus ??= maxCpus;
  if (total !== maxCpus)
    r.fail(
      "option/invalid",
      `Invalid CPU topology: sockets (${sockets}) * cores (${cores}) * threads (${threads}) != maxcpus (${maxCpus})`,
    );
  if (cpus > maxCpus) r.fail("option/invalid", `Invalid CPU topology: maxcpus (${maxCpus}) is less than cpus (${cpus})`);
  const most = machineOf(draft).maxCpus;
  if (maxCpus > most) r.fail("option/invalid", `Invalid SMP CPUs ${maxCpus}: the machine takes at most ${most}`);
  if (maxCpus > cpus) r.fail("option/unsupported", `maxcpus=${maxCpus} above cpus=${cpus}: CPU hot-plug is not supported`);
  const inside = [...(sockets! > 1 ? [cores!] : []), ...(sockets! * cores! > 1 ? [threads!] : [])];
  // The APIC ID is the vCPU's number, made of the three; guests take it apart by bits.
  if (inside.some((n) => n & (n - 1)))
    r.fail(
      "option/unsupported",
      `sockets=${sockets},cores=${cores},threads=${threads}: only powers of two inside a socket or core`,
    );
  draft.smp = { cpus, maxCpus, sockets: sockets!, cores: cores!, threads: threads! };
  draft.smpOrigin = origin;
}

function parseName(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "guest")), origin);
  draft.name = r.text("guest") ?? draft.name;
  r.refuse("process");
  // There are no threads to name; both words are true.
  r.flag("debug-threads");
  r.end();
}

function parseUuid(draft: Draft, value: string, origin: string): void {
  const hex = value.replaceAll("-", "").toLowerCase();
  if (!/^[0-9a-f]{8}-?(?:[0-9a-f]{4}-?){3}[0-9a-f]{12}$/i.test(value) || hex.length !== 32)
    throw new VmError("option/invalid", `${origin}: failed to parse UUID string: wrong format`);
  draft.uuid = `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

function parseRtc(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value)), origin);
  const base = r.text("base");
  if (base === "utc" || base === "localtime") draft.rtc.base = base;
  else if (base !== undefined) {
    const m = /^(\d{4})-(\d{1,2})-(\d{1,2})(?:T(\d{1,2}):(\d{1,2}):(\d{1,2}))?$/.exec(base);
    const startMs = m ? Date.UTC(+m[1]!, +m[2]! - 1, +m[3]!, +(m[4] ?? 0), +(m[5] ?? 0), +(m[6] ?? 0)) : Number.NaN;
    const back = new Date(startMs);
    if (!m || Number.isNaN(startMs) || back.getUTCMonth() !== +m[2]! - 1 || back.getUTCDate() !== +m[3]!)
      r.fail("option/invalid", `invalid datetime '${base}': valid formats are '2006-06-17T16:01:21' and '2006-06-17'`);
    draft.rtc.base = { startMs };
  }
  draft.rtc.clock = r.choice("clock", ["host", "rt", "vm"]) ?? draft.rtc.clock;
  r.only("driftfix", ["none"]);
  r.end();
}

function parseGlobal(draft: Draft, value: string, origin: string): void {
  const m = /^([^.=,]+)\.([^=,]+)=(.*)$/s.exec(value);
  if (m) {
    draft.globals.push({ driver: m[1]!, property: m[2]!, value: m[3]!, origin });
    return;
  }
  const r = new PropReader(toMap(splitList(value)), origin);
  draft.globals.push({ driver: r.need("driver"), property: r.need("property"), value: r.need("value"), origin });
  r.end();
}

export const STANDARD: OptionGroup = {
  heading: "Standard options",
  options: [
    { names: ["h", "help"], help: ["display this help and exit"], parse: () => {} },
    { names: ["version"], help: ["display version information and exit"], parse: () => {} },
    {
      names: ["machine", "M"],
      argument: "[type=]name[,prop[=value][,...]]",
      help: ["selects emulated machine ('-machine help' for list)", "property accel=accel1[:accel2[:...]] selects accelerator"],
      parse: parseMachine,
    },
    {
      names: ["accel"],
      argument: "[accel=]accelerator[,prop[=value][,...]]",
      help: [
        "select accelerator ('-accel help' for list)",
        "tb-size=n (size of the translation cache in MiB)",
        "x-assist=on|off (TCG helps a KVM without hardware where it is slow, default=on)",
      ],
      parse: parseAccel,
    },
    {
      names: ["enable-kvm"],
      help: ["enable KVM full virtualization support"],
      parse: (d, _v, origin) => void d.accels.push(accelConfig("kvm", new Map(), origin)),
    },
    { names: ["cpu"], argument: "model[,+feature][,-feature]", help: ["select CPU ('-cpu help' for list)"], parse: parseCpu },
    {
      names: ["smp"],
      argument: "[[cpus=]n][,maxcpus=maxcpus][,sockets=sockets][,cores=cores][,threads=threads]",
      help: ["set the number of virtual CPUs and their topology"],
      parse: parseSmp,
    },
    {
      names: ["m"],
      argument: "[size=]megs",
      help: ["configure guest RAM; suffixes M or G; default 128 MiB"],
      parse: parseMemory,
    },
    {
      names: ["boot"],
      argument: "[order=drives][,once=drives][,menu=on|off][,strict=on|off][,splash-time=ms][,reboot-timeout=ms]",
      help: ["'drives': floppy (a), hard disk (c), CD-ROM (d), network (n)"],
      parse: parseBoot,
    },
    { names: ["name"], argument: "string1[,debug-threads=on|off]", help: ["set the name of the guest"], parse: parseName },
    { names: ["uuid"], argument: "%08x-%04x-%04x-%04x-%012x", help: ["specify machine UUID"], parse: parseUuid },
    {
      names: ["rtc"],
      argument: "[base=utc|localtime|<datetime>][,clock=host|rt|vm]",
      help: ["set the RTC base and clock"],
      parse: parseRtc,
    },
    {
      names: ["global"],
      argument: "driver.property=value",
      help: ["set a global default for a driver property"],
      parse: parseGlobal,
    },
    {
      names: ["nodefaults"],
      help: ["don't create default devices"],
      parse: (d) => {
        d.noDefaults = true;
      },
    },
    { names: ["no-user-config"], help: ["don't read user configuration (there is none)"], parse: () => {} },
    { names: ["no-acpi"], help: ["disable ACPI"], parse: (d) => void d.machineProps.set("acpi", "off") },
    { names: ["no-hpet"], help: ["disable HPET"], parse: (d) => void d.machineProps.set("hpet", "off") },
    {
      names: ["no-fd-bootchk"],
      help: ["disable boot signature checking for floppy disks"],
      parse: (d) => void d.machineProps.set("fd-bootchk", "off"),
    },
    {
      names: ["no-reboot"],
      help: ["exit instead of rebooting"],
      parse: (d) => {
        d.noReboot = true;
      },
    },
    {
      names: ["no-shutdown"],
      help: ["stop before shutdown"],
      parse: (d) => {
        d.noShutdown = true;
      },
    },
    {
      names: ["incoming"],
      argument: "exec:command|file:path|fd:n|unix:path|tcp:host:port|defer",
      help: ["wait for the state of a saved machine; defer: until a monitor says where from"],
      parse: (d, value, origin) => {
        if (value !== "defer" && !/^(exec|file|fd|unix|tcp):./.test(value))
          throw new VmError("option/invalid", `${origin}: unknown migration protocol`);
        d.incoming = value;
      },
    },
    {
      names: ["loadvm"],
      argument: "tag",
      help: ["start from a saved VM snapshot"],
      parse: (d, value, origin) => {
        if (value === "") throw new VmError("option/missing", `${origin}: a snapshot's name is needed`);
        d.loadSnapshot = value;
      },
    },
    {
      names: ["S"],
      help: ["freeze CPU at startup (use 'c' to start execution)"],
      parse: (d) => {
        d.startPaused = true;
      },
    },
  ],
};

function parseBoot(draft: Draft, value: string, origin: string): void {
  const r = new PropReader(toMap(splitList(value, "order")), origin);
  const letters = (name: string): string | undefined => {
    const v = r.text(name);
    if (v === undefined) return undefined;
    for (const [i, c] of [...v].entries()) {
      if (c < "a" || c > "p") r.fail("option/invalid", `Invalid boot device '${c}' for '${name}'`);
      if (v.indexOf(c) !== i) r.fail("option/invalid", `Boot device '${c}' was given twice`);
    }
    return v;
  };
  draft.boot.order = letters("order") ?? draft.boot.order;
  draft.boot.once = letters("once") ?? draft.boot.once;
  draft.boot.menu = r.flag("menu", draft.boot.menu);
  draft.boot.strict = r.flag("strict", draft.boot.strict);
  draft.boot.splashTimeMs = r.number("splash-time", 0, 0xffff) ?? draft.boot.splashTimeMs;
  const timeout = r.text("reboot-timeout");
  if (timeout !== undefined) {
    const n = /^-?\d+$/.test(timeout) ? Number(timeout) : Number.NaN;
    if (!(n >= -1 && n <= 0xffff)) r.fail("option/invalid", `reboot-timeout=${timeout}: -1 to 65535 expected`);
    draft.boot.rebootTimeoutMs = n < 0 ? undefined : n;
  }
  r.refuse("splash");
  r.end();
}
